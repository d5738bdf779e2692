import type { ByteWriter } from "../../base/index.js";

/** Turns the reply at `view[at, end)` (length field included) into the call's value, or throws `CommandError`. */
export type DecodeReply<T> = (bytes: Uint8Array, view: DataView, at: number, end: number) => T;

/**
 * Calls with promises: what the typed clients stand on. A call rejects with `TryAgainError` (certainly not applied),
 * `IndeterminateError` (perhaps applied), `SessionExpiredError` or `MisroutedError` (certainly not applied), `CommandError` (the
 * service's answer) or `ClosedError`.
 */
export interface Calls {
  /**
   * Sends one command in the service's format (`u32 byte length` of the whole, then bytes) and resolves with a copy of its
   * reply, length field included. `read` promises that the command changes nothing.
   */
  call(command: Uint8Array, read?: boolean): Promise<Uint8Array>;
  /** As `call`, for a command that `write` appends and a reply that `decode` reads in place. */
  submit<T>(read: boolean, write: (writer: ByteWriter) => void, decode: DecodeReply<T>): Promise<T>;
  /** Fails what is unanswered with `ClosedError`, ends the sessions and closes the connections. Idempotent. */
  close(): Promise<void>;
}
