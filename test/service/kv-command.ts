import { ByteWriter } from "#src/base/index.js";
import { emptyRun, type Run, type Service, type UndoLog } from "#src/model/index.js";
import {
  beginCommand,
  endCommand,
  replyValueKind,
  replyValueLength,
  ReplyKind,
  REPLY_VALUE_HEADER_BYTES,
  writeArgumentLatin1,
} from "#src/service/index.js";
import { latin1 } from "#src/base/index.js";

/** One command as a test writes it down. */
export interface Command {
  readonly operation: number;
  readonly flags?: number;
  readonly args: readonly string[];
}

/** A reply as a test reads it. Integers are `{ integer }`, so that they differ from bulk strings. */
export type Reply =
  null | string | { readonly ok: true } | { readonly integer: string } | { readonly error: string } | Reply[];

export const OK: Reply = { ok: true };
export const integer = (value: number | bigint | string): Reply => ({ integer: String(value) });
export const error = (message: string): Reply => ({ error: message });

export function writeCommand(writer: ByteWriter, { operation, flags = 0, args }: Command): void {
  const at = beginCommand(writer, operation, flags, args.length);
  for (const argument of args) writeArgumentLatin1(writer, argument);
  endCommand(writer, at);
}

/** A run of these commands, behind a few other bytes, as in a batch. */
export function runOf(commands: readonly Command[], readOnly = false): Run {
  const writer = new ByteWriter();
  writer.u32(0xdeadbeef);
  const run = emptyRun();
  run.offsets = new Uint32Array(commands.length);
  commands.forEach((command, i) => {
    run.offsets[i] = writer.length;
    writeCommand(writer, command);
  });
  run.bytes = writer.toBytes();
  run.view = new DataView(run.bytes.buffer);
  run.count = commands.length;
  run.readOnly = readOnly;
  return run;
}

export function readReply(bytes: Uint8Array, view: DataView, at: number): Reply {
  const end = at + replyValueLength(view, at);
  const text = (): string => latin1(bytes, at + REPLY_VALUE_HEADER_BYTES, end);
  switch (replyValueKind(view, at)) {
    case ReplyKind.nil:
      return null;
    case ReplyKind.ok:
      return OK;
    case ReplyKind.integer:
      return integer(text());
    case ReplyKind.bulk:
    case ReplyKind.status:
      return text();
    case ReplyKind.error:
      return error(text());
    case ReplyKind.array: {
      const replies: Reply[] = [];
      let inner = at + REPLY_VALUE_HEADER_BYTES + 4;
      for (let left = view.getUint32(at + REPLY_VALUE_HEADER_BYTES, true); left > 0; left--) {
        replies.push(readReply(bytes, view, inner));
        inner += replyValueLength(view, inner);
      }
      if (inner !== end) throw new Error("an array reply has another length than its elements");
      return replies;
    }
    default:
      throw new Error(`a reply of kind ${replyValueKind(view, at)}`);
  }
}

/** Executes a run and returns its replies, of which there must be one a command. */
export function executeRun(service: Service, run: Run, undo: UndoLog | null = null): Reply[] {
  const writer = new ByteWriter(64, 256 * 1024 * 1024);
  writer.u32(7);
  service.execute(run, writer, undo);
  const replies: Reply[] = [];
  let at = 4;
  while (at < writer.length) {
    replies.push(readReply(writer.bytes, writer.view, at));
    at += replyValueLength(writer.view, at);
  }
  if (at !== writer.length || replies.length !== run.count) {
    throw new Error(`${replies.length} replies to ${run.count} commands`);
  }
  return replies;
}

export function execute(service: Service, commands: readonly Command[], undo: UndoLog | null = null): Reply[] {
  return executeRun(service, runOf(commands), undo);
}

export function digestOf(service: { digest(into: Uint32Array): void }): string {
  const digest = new Uint32Array(4);
  service.digest(digest);
  return [...digest].map((lane) => lane.toString(16).padStart(8, "0")).join("");
}

/** The whole snapshot, taken in slices of about `bytesTarget`. `between` runs after each slice. */
export function snapshotOf(
  source: { next(writer: ByteWriter, bytesTarget: number): boolean; close(): void },
  bytesTarget = 64,
  between: () => void = () => {},
): Uint8Array {
  const writer = new ByteWriter();
  for (;;) {
    const more = source.next(writer, bytesTarget);
    between();
    if (!more) break;
  }
  source.close();
  return writer.toBytes();
}

/** Writes a snapshot in chunks of the given lengths, in turn, and finishes. */
export function restoreInto(
  sink: { write(bytes: Uint8Array, start: number, end: number): void; finish(): void },
  snapshot: Uint8Array,
  lengths: readonly number[] = [snapshot.length + 1],
): void {
  for (let at = 0, i = 0; at < snapshot.length; i++) {
    const end = Math.min(snapshot.length, at + (lengths[i % lengths.length] as number));
    // Each chunk stands somewhere inside a larger buffer that is overwritten afterwards.
    const chunk = new Uint8Array(end - at + 10).fill(0xee);
    chunk.set(snapshot.subarray(at, end), 5);
    sink.write(chunk, 5, 5 + end - at);
    chunk.fill(0xdd);
    at = end;
  }
  sink.finish();
}
