/**
 * Counts of messages that two threads have handled, so that each can bound what it sends. One word a direction, written by
 * the receiver alone; counts wrap at 2^32, their differences do not matter beyond the few that are under way.
 */
export const MAILBOX_BYTES = 8;
export const TO_THREAD = 0;
export const FROM_THREAD = 1;

/** Counts what one side sends and what the other has handled. */
export class SentCount {
  readonly #handled: Int32Array;
  readonly #index: number;
  readonly #messagesMax: number;
  #sent = 0;

  constructor(memory: SharedArrayBuffer, index: number, messagesMax: number) {
    this.#handled = new Int32Array(memory);
    this.#index = index;
    this.#messagesMax = messagesMax;
  }

  /** Counts one more message, unless too many are under way. */
  take(): boolean {
    const underWay = (this.#sent - Atomics.load(this.#handled, this.#index)) | 0;
    if (underWay >= this.#messagesMax) return false;
    this.#sent = (this.#sent + 1) | 0;
    return true;
  }
}
