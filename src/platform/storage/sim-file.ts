import { assert, type Prng } from "../../base/index.js";
import { sectorBytes } from "./batch-format.js";

/** A write that the disk has taken but not made durable. */
export interface SimWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** The write has called back; one that has not may still be partial when the process dies. */
  landed: boolean;
  /**
   * A sync that covered it failed. The operating system then believes the pages clean: no later sync writes them, which is
   * why a failed sync must not be tried again.
   */
  abandoned: boolean;
}

const noBytes = new Uint8Array(0);

const SMALLEST_BYTES = 4096;

/** Bytes that grow; what was never written reads as zero. */
class Content {
  #bytes = noBytes;
  /** Another content has the same memory: whoever changes his copies it first. */
  #shared = false;
  size = 0;

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.size);
  }

  put(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > this.#bytes.length) this.#move(Math.max(end, 4 * this.#bytes.length, SMALLEST_BYTES));
    else if (this.#shared) this.#move(this.#bytes.length);
    this.#bytes.set(bytes, offset);
    this.size = Math.max(this.size, end);
  }

  flip(offset: number, bit: number): void {
    if (offset >= this.size) return;
    if (this.#shared) this.#move(this.#bytes.length);
    this.#bytes[offset] = (this.#bytes[offset] as number) ^ (1 << bit);
  }

  /** Nothing is copied before one of the two changes: most files of a machine that dies are never written again. */
  replace(other: Content): void {
    this.#bytes = other.#bytes;
    this.size = other.size;
    this.#shared = other.#shared = true;
  }

  #move(capacity: number): void {
    const moved = new Uint8Array(capacity);
    moved.set(this.bytes);
    this.#bytes = moved;
    this.#shared = false;
  }
}

/**
 * A file of the simulated disk: what a reader sees now, what a power cut leaves for certain, and the writes in between, of
 * which a power cut keeps some, loses some and tears some.
 */
export class SimFile {
  /** Invariant: it differs from what is durable only where there are unsynced writes. */
  readonly #live = new Content();
  readonly #durable = new Content();
  #unsynced: SimWrite[] = [];

  get bytes(): Uint8Array {
    return this.#live.bytes;
  }

  /** Writes that are under way together may not overlap: which of them a real system carries out last is left to chance. */
  write(offset: number, bytes: Uint8Array): SimWrite {
    for (const other of this.#unsynced) {
      const apart =
        other.landed || other.offset + other.bytes.length <= offset || offset + bytes.length <= other.offset;
      assert(apart, `a write at ${offset} overlaps one under way at ${other.offset}`);
    }
    const write = { offset, bytes, landed: false, abandoned: false };
    this.#unsynced.push(write);
    this.#live.put(offset, bytes);
    return write;
  }

  /** What a sync that begins now will cover. */
  landed(): SimWrite[] {
    return this.#unsynced.filter((write) => write.landed);
  }

  /** The sync that covers these writes has succeeded. */
  settle(writes: readonly SimWrite[]): void {
    const done = new Set(writes.filter((write) => !write.abandoned));
    let left: SimWrite[] = [];
    for (const write of this.#unsynced) {
      if (!done.has(write)) {
        left.push(write);
        continue;
      }
      this.#durable.put(write.offset, write.bytes);
      // What an earlier write has left behind, that no sync will ever cover, is gone where this one was put over it.
      left = left.flatMap((earlier) => (earlier.abandoned ? without(earlier, write) : [earlier]));
    }
    this.#unsynced = left;
  }

  /** Power is cut: each unsynced write is kept, lost or torn. */
  cutPower(prng: Prng): void {
    if (this.#unsynced.length === 0) return;
    for (const write of this.#unsynced)
      for (const part of fate(write, prng)) this.#durable.put(part.offset, part.bytes);
    this.#unsynced = [];
    this.#live.replace(this.#durable);
  }

  /** The process dies and the system lives on: what it had taken stays, the writes under way may be partial. */
  killWriter(prng: Prng): void {
    if (this.#unsynced.length === 0) return;
    this.#unsynced = this.#unsynced.flatMap((write) => (write.landed ? [write] : fate(write, prng)));
    this.#live.replace(this.#durable);
    for (const write of this.#unsynced) this.#live.put(write.offset, write.bytes);
  }

  /** Whether something can be put here from outside: the file is long enough, and no write is under way to the place. */
  accepts(offset: number, length: number): boolean {
    return (
      offset + length <= this.#live.size &&
      this.#unsynced.every((write) => write.offset + write.bytes.length <= offset || offset + length <= write.offset)
    );
  }

  /** Puts bytes in place that nobody meant for it, durably. */
  overwrite(offset: number, bytes: Uint8Array): void {
    this.#live.put(offset, bytes);
    this.#durable.put(offset, bytes);
  }

  /** Flips one bit wherever the byte is held. */
  flip(offset: number, bit: number): void {
    this.#live.flip(offset, bit);
    this.#durable.flip(offset, bit);
    for (const write of this.#unsynced) {
      const at = offset - write.offset;
      if (at >= 0 && at < write.bytes.length) write.bytes[at] = (write.bytes[at] as number) ^ (1 << bit);
    }
  }
}

/** The parts of a write that another one does not cover. */
function without(write: SimWrite, other: SimWrite): SimWrite[] {
  const end = write.offset + write.bytes.length;
  const from = Math.max(write.offset, other.offset);
  const to = Math.min(end, other.offset + other.bytes.length);
  if (from >= to) return [write];
  const part = (start: number, stop: number): SimWrite => ({
    ...write,
    offset: start,
    bytes: write.bytes.slice(start - write.offset, stop - write.offset),
  });
  return [part(write.offset, from), part(to, end)].filter(({ bytes }) => bytes.length > 0);
}

/** What remains of a write that may not have been carried out to its end. */
function fate(write: SimWrite, prng: Prng): SimWrite[] {
  const part = (from: number, to: number): SimWrite => ({
    offset: write.offset + from,
    bytes: write.bytes.slice(from, to),
    landed: true,
    abandoned: write.abandoned,
  });
  const { length } = write.bytes;
  switch (prng.below(4)) {
    case 0:
      return [];
    case 1:
      return [part(0, length)];
    case 2: {
      const end = prng.below(length + 1);
      return end === 0 ? [] : [part(0, end)];
    }
    default: {
      const parts: SimWrite[] = [];
      for (let at = 0; at < length;) {
        const end = Math.min(length, at + sectorBytes - ((write.offset + at) % sectorBytes));
        if (prng.chance(0.5)) parts.push(part(at, end));
        at = end;
      }
      return parts;
    }
  }
}
