import { assert, type ByteWriter, hashText, latin1 } from "../../base/index.js";
import {
  CheckpointDamagedError,
  type Digest,
  type Run,
  type Service,
  type SnapshotSink,
  type SnapshotSource,
  type UndoLog,
} from "../../model/index.js";
import {
  COMMAND_HEADER_BYTES,
  commandFlags,
  commandOperation,
  readArguments,
  replyError,
  replyInteger,
} from "../command/index.js";
import { COUNTER_MAX, CounterOperation } from "./command.js";

const FORMAT = 1;
/** `u32 format`, `u32 0`, `f64 value`. */
const SNAPSHOT_BYTES = 16;
const DELTA = /^(?:0|-?[1-9][0-9]{0,15})$/;
/** Longest text that `DELTA` can match. */
const DELTA_BYTES_MAX = 17;

/** One whole number as a replicated service. */
export class Counter implements Service {
  readonly name = "counter";
  #value = 0;
  readonly #spans = new Uint32Array(2);

  /** Nothing depends on the time alone. */
  advance(): void {}

  due(): number {
    return Infinity;
  }

  execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    for (let i = 0; i < run.count; i++) {
      const objection = this.#command(run, run.offsets[i] as number, undo);
      if (objection === null) replyInteger(replies, String(this.#value));
      else replyError(replies, objection);
    }
  }

  rollback(undo: UndoLog, mark: number): void {
    while (undo.mark() > mark) {
      const before = undo.pop();
      assert(typeof before === "number", "the undo log holds records of another service");
      this.#value = before;
    }
  }

  isRead(view: DataView, at: number): boolean {
    return view.getUint32(at, true) >= COMMAND_HEADER_BYTES && commandOperation(view, at) === CounterOperation.get;
  }

  /** One group: every command belongs to it. */
  groups(run: Run, _mode: 0 | 1, masks: Uint32Array): void {
    masks.fill(1, 0, run.count);
  }

  /** With one group no other thread can be in the way: everything passes. */
  safetyCheck(run: Run, _thread: number, pass: Uint8Array): void {
    pass.fill(1, 0, run.count);
  }

  /** There is one number, and every command touches it. */
  conflicts(run: Run, low: Float64Array, high: Float64Array, writes: Uint8Array): void {
    low.fill(0, 0, run.count);
    high.fill(0, 0, run.count);
    for (let i = 0; i < run.count; i++) writes[i] = this.isRead(run.view, run.offsets[i] as number) ? 0 : 1;
  }

  digest(into: Digest): void {
    const text = String(this.#value);
    for (let i = 0; i < 4; i++) into[i] = hashText(text, i);
  }

  snapshot(): SnapshotSource {
    const value = this.#value;
    let written = false;
    return {
      next: (writer) => {
        if (written) return false;
        written = true;
        writer.u32(FORMAT);
        writer.u32(0);
        writer.f64(value);
        return false;
      },
      close: () => {
        written = true;
      },
    };
  }

  restore(): SnapshotSink {
    const bytes = new Uint8Array(SNAPSHOT_BYTES);
    const view = new DataView(bytes.buffer);
    let length = 0;
    return {
      write: (source, start, end) => {
        if (length + end - start > SNAPSHOT_BYTES) throw damaged(`it is longer than ${SNAPSHOT_BYTES} bytes`);
        bytes.set(source.subarray(start, end), length);
        length += end - start;
      },
      finish: () => {
        if (length !== SNAPSHOT_BYTES) throw damaged(`it has ${length} of ${SNAPSHOT_BYTES} bytes`);
        const format = view.getUint32(0, true);
        const value = view.getFloat64(8, true);
        if (format !== FORMAT) throw damaged(`its format is ${format}, this version reads ${FORMAT}`);
        if (view.getUint32(4, true) !== 0) throw damaged("its reserved field is not 0");
        if (!Number.isSafeInteger(value)) throw damaged(`its value is ${value}`);
        this.#value = value;
      },
    };
  }

  size(): { readonly entries: number; readonly bytes: number } {
    return { entries: 1, bytes: 8 };
  }

  /** Executes one command; the error to answer, or null when the value is the answer. */
  #command(run: Run, at: number, undo: UndoLog | null): string | null {
    const { view } = run;
    const spans = this.#spans;
    const count = readArguments(view, at, spans);
    if (count < 0) return "ERR malformed command";
    if (commandFlags(view, at) !== 0) return "ERR syntax error";
    switch (commandOperation(view, at)) {
      case CounterOperation.get:
        return count === 0 ? null : "ERR wrong number of arguments";
      case CounterOperation.add: {
        if (run.readOnly) return "ERR a command that writes was sent as an unordered read";
        if (count !== 1) return "ERR wrong number of arguments";
        const [start = 0, end = 0] = spans;
        const text = end - start > DELTA_BYTES_MAX ? "" : latin1(run.bytes, start, end);
        if (!DELTA.test(text)) return "ERR value is not an integer or out of range";
        const delta = Number(text);
        if (!Number.isSafeInteger(delta)) return "ERR value is not an integer or out of range";
        const sum = this.#value + delta;
        if (Math.abs(sum) > COUNTER_MAX) return "ERR increment or decrement would overflow";
        if (undo !== null) undo.push(this.#value);
        this.#value = sum;
        return null;
      }
      default:
        return "ERR unknown operation";
    }
  }
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the snapshot of the counter is damaged: ${reason}`);
}
