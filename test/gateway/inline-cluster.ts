import { assert, ByteWriter } from "#src/base/index.js";
import { beginReply, BlockKind, emptyRun, endReply, ReplyStatus, stampReplyStatus } from "#src/model/index.js";
import type { Scheduler, Turn } from "#src/platform/index.js";
import type { BlockClient, BlockClientHandlers } from "#src/runtime/index.js";
import { kv } from "#src/service/index.js";

/** A cluster of one in this thread: executes what came in a turn at the turn's end. */
export class InlineCluster implements BlockClient {
  readonly open = true;
  readonly session = 1;
  readonly leader = 1;
  readonly #handlers: BlockClientHandlers;
  readonly #turn: Turn;
  readonly #service = kv.create();
  readonly #run = emptyRun();
  #seed = 0;
  readonly #blocks: { token: number; read: boolean; bytes: Uint8Array }[] = [];
  /** What is left of blocks of reads that were answered in part. */
  readonly #rests = new Map<number, Uint8Array>();

  constructor(scheduler: Scheduler, handlers: BlockClientHandlers) {
    this.#handlers = handlers;
    this.#turn = scheduler.turn(() => this.#execute());
  }

  submit(
    token: number,
    read: boolean,
    _commands: number,
    bytes: Uint8Array,
    _view: DataView,
    start: number,
    end: number,
  ): void {
    this.#blocks.push({ token, read, bytes: bytes.slice(start, end) });
    this.#turn.request();
  }

  more(token: number): void {
    const rest = this.#rests.get(token);
    assert(rest !== undefined, `nothing is left of block ${token}`);
    this.#rests.delete(token);
    this.#blocks.push({ token, read: true, bytes: rest });
    this.#turn.request();
  }

  close(done: () => void): void {
    done();
  }

  #execute(): void {
    for (const { token, read, bytes } of this.#blocks.splice(0)) {
      const run = this.#run;
      run.bytes = bytes;
      run.view = new DataView(bytes.buffer);
      run.readOnly = read;
      run.time = Date.now();
      run.seed = this.#seed++;
      if (!read) this.#service.advance(run.time, null);
      const offsets: number[] = [];
      for (let at = 0; at < bytes.length; at += run.view.getUint32(at, true)) offsets.push(at);
      run.offsets = Uint32Array.from(offsets);
      run.count = offsets.length;
      const writer = new ByteWriter();
      const at = beginReply(writer, 1, 1, ReplyStatus.ok, read ? BlockKind.read : BlockKind.commands);
      run.answered = run.count;
      this.#service.execute(run, writer, null);
      if (run.answered < run.count) {
        stampReplyStatus(writer.view, at, ReplyStatus.split);
        this.#rests.set(token, bytes.slice(offsets[run.answered]));
      }
      endReply(writer, at, run.answered);
      this.#handlers.resolve(token, { bytes: writer.bytes, view: writer.view, start: 0, end: writer.length });
    }
  }
}
