import { ByteWriter } from "#src/base/index.js";
import { emptyRun, type Run, type Service, type UndoLog } from "#src/model/index.js";
import { BtreeOperation, ReplyKind, replyValueKind, replyValueLength } from "#src/service/index.js";

/** One command as a test writes it down. */
export type Command =
  | { readonly operation: "insert" | "update"; readonly key: bigint; readonly value: bigint }
  | { readonly operation: "delete" | "read"; readonly key: bigint }
  | { readonly operation: "range"; readonly key: bigint; readonly last: bigint; readonly pairs: number }
  /** Bytes that need not be a command; the block's check has seen to their length alone. */
  | { readonly operation: "bytes"; readonly bytes: Uint8Array };

/** One reply as a test reads it. */
export type Reply = "ok" | null | bigint | { readonly error: string } | (readonly [bigint, bigint])[];

export function writeCommand(writer: ByteWriter, command: Command): void {
  if (command.operation === "bytes") return writer.copy(command.bytes, 0, command.bytes.length);
  const numbers = [command.key];
  if (command.operation === "insert" || command.operation === "update") numbers.push(command.value);
  if (command.operation === "range") numbers.push(command.last);
  writer.u32(8 + 8 * numbers.length + (command.operation === "range" ? 4 : 0));
  writer.u32(BtreeOperation[command.operation]);
  for (const number of numbers) {
    writer.u32(Number(number & 0xffffffffn));
    writer.u32(Number(number >> 32n));
  }
  if (command.operation === "range") writer.u32(command.pairs);
}

export function runOf(commands: readonly Command[], readOnly = false): Run {
  const writer = new ByteWriter();
  // Commands of a real block are not aligned to anything either.
  writer.u8(0);
  const run = emptyRun();
  run.offsets = new Uint32Array(commands.length);
  commands.forEach((command, i) => {
    run.offsets[i] = writer.length;
    writeCommand(writer, command);
  });
  run.bytes = writer.toBytes();
  run.view = new DataView(run.bytes.buffer);
  run.count = commands.length;
  run.answered = commands.length;
  run.readOnly = readOnly;
  return run;
}

function readReply(view: DataView, at: number): Reply {
  const length = replyValueLength(view, at);
  const number = (offset: number): bigint => view.getBigUint64(offset, true);
  const text = (): string => Buffer.from(view.buffer, at + 8, length - 8).toString("latin1");
  switch (replyValueKind(view, at)) {
    case ReplyKind.nil:
      return null;
    case ReplyKind.ok:
      return "ok";
    case ReplyKind.bulk:
      return number(at + 8);
    case ReplyKind.error:
      return { error: text() };
    case ReplyKind.pairs:
      if (length !== 12 + 16 * view.getUint32(at + 8, true))
        throw new Error("pairs of another length than their count");
      return Array.from({ length: view.getUint32(at + 8, true) }, (_, i) => [
        number(at + 12 + 16 * i),
        number(at + 20 + 16 * i),
      ]);
    default:
      throw new Error(`a reply of kind ${replyValueKind(view, at)}`);
  }
}

/** The replies from `start` on, where `attempt` or `execute` began to write. */
export function readReplies(writer: ByteWriter, start: number): Reply[] {
  const replies: Reply[] = [];
  let at = start;
  while (at < writer.length) {
    replies.push(readReply(writer.view, at));
    at += replyValueLength(writer.view, at);
  }
  if (at !== writer.length) throw new Error("replies do not add up");
  return replies;
}

/** Executes a run and reads as many replies as the service says it answered. */
export function executeRun(service: Service, run: Run, undo: UndoLog | null = null): Reply[] {
  const writer = new ByteWriter();
  writer.u32(0xdeadbeef);
  service.execute(run, writer, undo);
  const replies = readReplies(writer, 4);
  if (replies.length !== run.answered) throw new Error("replies do not add up");
  return replies;
}

export const execute = (service: Service, commands: readonly Command[], undo: UndoLog | null = null): Reply[] =>
  executeRun(service, runOf(commands), undo);
