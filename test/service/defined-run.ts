import { ByteWriter } from "#src/base/index.js";
import { emptyRun, type Run, type Service, type UndoLog } from "#src/model/index.js";
import {
  commandNumber,
  DEFINED_REPLY_HEADER_BYTES,
  DefinedReply,
  ValueReader,
  writeValue,
} from "#src/service/index.js";

/** A call as a test writes it down: a command's name and its argument, if any. */
export type Call = readonly [name: string, args?: unknown];

/** What came back: the result, or the kind and message of an error. */
export type Outcome =
  { readonly result: unknown } | { readonly error: keyof typeof DefinedReply; readonly message: string };

export function definedRun(calls: readonly Call[], init: Partial<Pick<Run, "time" | "seed" | "readOnly">> = {}): Run {
  const writer = new ByteWriter(64, 256 * 1024 * 1024);
  writer.u32(0xdeadbeef);
  const run = emptyRun();
  run.offsets = new Uint32Array(calls.length);
  calls.forEach(([name, args], i) => {
    const at = writer.skip(8);
    run.offsets[i] = at;
    writer.view.setUint32(at + 4, commandNumber(name), true);
    if (args !== undefined) writeValue(writer, args);
    writer.view.setUint32(at, writer.length - at, true);
  });
  run.bytes = writer.toBytes();
  run.view = new DataView(run.bytes.buffer);
  run.count = calls.length;
  run.answered = calls.length;
  return Object.assign(run, init);
}

const kinds = Object.keys(DefinedReply) as (keyof typeof DefinedReply)[];

export function outcomes(service: Service, run: Run, undo: UndoLog | null = null): Outcome[] {
  const writer = new ByteWriter(64, 256 * 1024 * 1024);
  writer.u32(7);
  service.execute(run, writer, undo);
  const found = outcomesOf(writer, 4);
  if (found.length !== run.answered) throw new Error(`${found.length} replies to ${run.answered} commands`);
  return found;
}

/** The replies from `start` on. */
export function outcomesOf(writer: ByteWriter, start: number): Outcome[] {
  const found: Outcome[] = [];
  const reader = new ValueReader();
  for (let at = start; at < writer.length;) {
    const end = at + writer.view.getUint32(at, true);
    const kind = kinds.find((name) => DefinedReply[name] === writer.view.getUint8(at + 4)) ?? "refused";
    const content = reader.read(writer.bytes, writer.view, at + DEFINED_REPLY_HEADER_BYTES, end);
    found.push(kind === "result" ? { result: content } : { error: kind, message: (content as string[])[0] ?? "" });
    at = end;
  }
  return found;
}

/** The results of calls that all must succeed. */
export function results(service: Service, ...calls: readonly Call[]): unknown[] {
  return outcomes(service, definedRun(calls)).map((outcome) => {
    if ("error" in outcome) throw new Error(`${outcome.error}: ${outcome.message}`);
    return outcome.result;
  });
}
