// Hot file: each change of a table is noted here before it is made. No allocation. Watched by bench/define.mjs.
import { ByteWriter, KiB } from "../../base/index.js";
import { JOURNAL_BYTES_MAX } from "./command.js";
import { ValueError } from "./errors.js";

/** A larger one is not kept from one command to the next. */
const KEPT_BYTES_MAX = 1024 * KiB;
/** `u32 key length`, `u32` length of the value before plus one, 0 if there was none; then key and value. */
const NOTE_HEADER_BYTES = 8;

/**
 * What the present command changed, so that it can be taken back if it throws: keys and the values that they had before,
 * one behind the other. Unlike records of an undo log they are written to memory that is there already.
 */
export class Journal {
  #notes = new ByteWriter(4 * KiB, JOURNAL_BYTES_MAX);
  /** Where each note begins. */
  readonly #starts: number[] = [];

  get length(): number {
    return this.#starts.length;
  }

  /** Notes that a key had no value. */
  added(key: Uint8Array, keyEnd: number): void {
    this.#note(key, keyEnd, 0);
  }

  /** Notes that a key had the value `bytes[start, end)`. */
  changed(key: Uint8Array, keyEnd: number, bytes: Uint8Array, start: number, end: number): void {
    this.#note(key, keyEnd, end - start + 1);
    this.#notes.copy(bytes, start, end);
  }

  /** Gives the notes to `restore`, newest first: the key as `bytes[key, value)` and the value, if any, as `bytes[value, end)`. */
  takeBack(restore: (bytes: Uint8Array, key: number, value: number, end: number, wasThere: boolean) => void): void {
    const { bytes, view } = this.#notes;
    for (let i = this.#starts.length - 1; i >= 0; i--) {
      const at = this.#starts[i] as number;
      const key = at + NOTE_HEADER_BYTES;
      const value = key + view.getUint32(at, true);
      const length = view.getUint32(at + 4, true);
      restore(bytes, key, value, value + Math.max(0, length - 1), length > 0);
    }
    this.clear();
  }

  /** Forgets everything: the command is done. */
  clear(): void {
    if (this.#starts.length === 0) return;
    this.#starts.length = 0;
    if (this.#notes.bytes.length > KEPT_BYTES_MAX) this.#notes = new ByteWriter(4 * KiB, JOURNAL_BYTES_MAX);
    else this.#notes.clear();
  }

  #note(key: Uint8Array, keyEnd: number, valueField: number): void {
    const notes = this.#notes;
    if (notes.length + NOTE_HEADER_BYTES + keyEnd + valueField > JOURNAL_BYTES_MAX) {
      throw new ValueError(`one command replaces at most ${JOURNAL_BYTES_MAX} bytes of keys and values`);
    }
    this.#starts.push(notes.length);
    notes.u32(keyEnd);
    notes.u32(valueField);
    notes.copy(key, 0, keyEnd);
  }
}
