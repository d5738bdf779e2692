import { type ByteWriter, latin1 } from "../../base/index.js";
import {
  beginCommand,
  endCommand,
  REPLY_VALUE_HEADER_BYTES,
  ReplyKind,
  replyValueKind,
  replyValueLength,
  writeArgumentLatin1,
} from "../../service/index.js";
import type { CommandArgument, SimCommand } from "./command.js";

/** A command in the format of the services that take argument lists. `encoded`: its arguments, where the history has others. */
export class ArgumentCommand implements SimCommand {
  readonly op: string | null;
  readonly args: readonly CommandArgument[];
  readonly read: boolean;
  readonly #operation: number;
  readonly #flags: number;
  readonly #encoded: readonly string[];

  constructor(
    op: string | null,
    args: readonly CommandArgument[],
    operation: number,
    options: { readonly read?: boolean; readonly flags?: number; readonly encoded?: readonly string[] } = {},
  ) {
    this.op = op;
    this.args = args;
    this.read = options.read ?? false;
    this.#operation = operation;
    this.#flags = options.flags ?? 0;
    this.#encoded = options.encoded ?? args.map(String);
  }

  encode(writer: ByteWriter): void {
    const at = beginCommand(writer, this.#operation, this.#flags, this.#encoded.length);
    for (const argument of this.#encoded) writeArgumentLatin1(writer, argument);
    endCommand(writer, at);
  }

  decode(bytes: Uint8Array, view: DataView, at: number): unknown {
    return decodeReply(bytes, view, at);
  }
}

/** The reply value at `at` as a history holds it. */
export function decodeReply(bytes: Uint8Array, view: DataView, at: number): unknown {
  const start = at + REPLY_VALUE_HEADER_BYTES;
  const end = at + replyValueLength(view, at);
  switch (replyValueKind(view, at)) {
    case ReplyKind.nil:
      return null;
    case ReplyKind.ok:
      return "OK";
    case ReplyKind.integer:
      return Number(latin1(bytes, start, end));
    case ReplyKind.bulk:
    case ReplyKind.status:
      return latin1(bytes, start, end);
    case ReplyKind.error:
      return { error: latin1(bytes, start, end) };
    default: {
      const values: unknown[] = [];
      for (let next = start + 4; next < end; next += replyValueLength(view, next)) {
        values.push(decodeReply(bytes, view, next));
      }
      return values;
    }
  }
}
