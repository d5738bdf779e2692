import { fnv1a } from "../../base/index.js";

/**
 * The wire format of user-defined services, little-endian.
 *
 * Command: `u32 byte length` (included), `u32` hash of the command's name (`commandNumber`), then its argument as one
 * MessagePack value; nothing for a command that is called without one.
 *
 * Reply: `u32 byte length` (included), `u8 kind` (see `DefinedReply`), three zero bytes, then one MessagePack value: the
 * result, or of an error the list [message] or, for `thrown`, [message, name of what was thrown].
 */
export const DEFINED_COMMAND_HEADER_BYTES = 8;
export const DEFINED_REPLY_HEADER_BYTES = 8;

export const DefinedReply = {
  /** Executed; the value is the result. */
  result: 0,
  /** `execute`, `keys`, `partial` or `combine` threw. */
  thrown: 1,
  /** It touched what it had not declared. */
  undeclared: 2,
  /** It used what differs between replicas. */
  determinism: 3,
  /** A key, a value or the result can't be stored or sent. */
  value: 4,
  /** The command is malformed, unknown to this version of the service, or its reply is too long. */
  refused: 5,
} as const;
export type DefinedReply = (typeof DefinedReply)[keyof typeof DefinedReply];

/** Longest key, in bytes of UTF-8. */
export const TABLE_KEY_BYTES_MAX = 4096;
/** Longest value of a table, in bytes of MessagePack. */
export const TABLE_VALUE_BYTES_MAX = 1024 * 1024;
/** Tables of one service at most. */
export const TABLES_MAX = 255;
/** Commands of one service at most. */
export const COMMANDS_MAX = 1024;
/** Keys that one command may declare; one that touches more says `keys: "all"`. */
export const DECLARED_KEYS_MAX = 1024;
/** Bytes of keys and former values that one command may replace or remove: what is kept to take it back if it throws. */
export const JOURNAL_BYTES_MAX = 256 * 1024 * 1024;
/** Longest message of an error that a command throws, in characters; the rest is cut off. */
export const ERROR_CHARACTERS_MAX = 1024;

/** What stands for a command on the wire and in the log. `defineService` refuses two names of one number. */
export function commandNumber(name: string): number {
  return fnv1a(name);
}
