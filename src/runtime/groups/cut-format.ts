import { ByteQueue, type ByteWriter } from "../../base/index.js";
import { CheckpointDamagedError, type Instance, type SnapshotSink } from "../../model/index.js";

/**
 * A checkpoint of a replica with several groups, little-endian: `u32 magic`, `u32 format`, `u32 groups`, `u32 0`, then records: `u32 section`, `u32 length`, bytes. The records of one section, in
 * order, are its content, which ends with a record of no bytes; records of different sections stand between each other, as
 * their writers had them ready. The last record is that of the end.
 *
 * | section | content |
 * |---|---|
 * | 2 i | where thread i is in the merge, and what the pacing of its stream and of g_all know there |
 * | 2 i + 1 | the sessions of thread i |
 * | 2 groups | the service |
 * | 2 groups + 1 | the end: `f64` the position of each stream, from g_all on |
 */
const MAGIC = 0x53545543;
const FORMAT = 1;
/** Most bytes of a record. */
export const CUT_RECORD_BYTES_MAX = 16 * 1024 * 1024;

export const placesSection = (thread: number): number => 2 * thread;
export const sessionsSection = (thread: number): number => 2 * thread + 1;
export const serviceSection = (groups: number): number => 2 * groups;
export const endSection = (groups: number): number => 2 * groups + 1;

export function writeCutHeader(writer: ByteWriter, groups: number): void {
  writer.u32(MAGIC);
  writer.u32(FORMAT);
  writer.u32(groups);
  writer.u32(0);
}

/** Writes the head of a record whose bytes follow. */
export function writeCutRecord(writer: ByteWriter, section: number, length: number): void {
  writer.u32(section);
  writer.u32(length);
}

/** Writes the last record. `positions` are those of all streams, from g_all on. */
export function writeCutEnd(writer: ByteWriter, positions: readonly Instance[]): void {
  writeCutRecord(writer, endSection(positions.length - 1), 8 * positions.length);
  for (const position of positions) writer.f64(position);
}

/** Reads a cut and hands out its sections. */
export class CutSink implements SnapshotSink {
  readonly #groups: number;
  readonly #taker: (section: number) => SnapshotSink | null;
  readonly #input = new ByteQueue();
  readonly #sinks: (SnapshotSink | null)[] = [];
  /** Per section: 0 before its first record, 1 in it, 2 behind its end. */
  readonly #states: number[] = [];
  #headed = false;
  /** Positions of all streams, from g_all on; complete when the whole is. */
  readonly positions: Instance[] = [];
  #section = 0;
  /** Bytes of the present record that are to come. */
  #left = 0;

  /** `taker` is asked once for each section: who takes it, or null. */
  constructor(groups: number, taker: (section: number) => SnapshotSink | null) {
    this.#groups = groups;
    this.#taker = taker;
    for (let i = 0; i <= endSection(groups); i++) this.#states.push(0);
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    const input = this.#input;
    input.push(bytes, start, end);
    if (!this.#headed && !this.#readHeader()) return;
    for (;;) {
      if (this.#left === 0) {
        if (!input.has(8)) return;
        this.#beginRecord(input.view.getUint32(input.at, true), input.view.getUint32(input.at + 4, true));
        input.at += 8;
      } else if (this.#section === endSection(this.#groups)) {
        if (!input.has(this.#left)) return;
        this.#readPositions();
      } else {
        const length = Math.min(this.#left, input.size);
        if (length === 0) return;
        this.#sinks[this.#section]?.write(input.bytes, input.at, input.at + length);
        input.at += length;
        this.#left -= length;
      }
    }
  }

  finish(): void {
    if (this.positions.length === 0 || this.#left > 0) throw damaged("it ends before its last record");
  }

  #readPositions(): void {
    const { view, at } = this.#input;
    for (let i = 0; i <= this.#groups; i++) {
      const position = view.getFloat64(at + 8 * i, true);
      if (!Number.isSafeInteger(position) || position < 0) throw damaged(`a position in it is ${position}`);
      this.positions.push(position);
    }
    this.#input.at += this.#left;
    this.#left = 0;
  }

  #readHeader(): boolean {
    const input = this.#input;
    if (!input.has(16)) return false;
    const { view, at } = input;
    if (view.getUint32(at, true) !== MAGIC) throw damaged("it does not begin as one");
    const format = view.getUint32(at + 4, true);
    if (format !== FORMAT) throw damaged(`its format is ${format}, this version reads ${FORMAT}`);
    const groups = view.getUint32(at + 8, true);
    if (groups !== this.#groups) throw damaged(`it is of ${groups} groups, not of ${this.#groups}`);
    input.at = at + 16;
    this.#headed = true;
    return true;
  }

  #beginRecord(section: number, length: number): void {
    const end = endSection(this.#groups);
    if (section > end || this.#states[end] === 2) throw damaged(`it has a record of section ${section}`);
    if (length > CUT_RECORD_BYTES_MAX) throw damaged(`a record of it has ${length} bytes`);
    if (this.#states[section] === 2) throw damaged(`section ${section} goes on behind its end`);
    if (section === end) {
      for (let i = 0; i < end; i++) if (this.#states[i] !== 2) throw damaged(`section ${i} has no end`);
      if (length !== 8 * (this.#groups + 1)) throw damaged(`its last record has ${length} bytes`);
      this.#states[end] = 2;
    } else {
      if (this.#states[section] === 0) this.#sinks[section] = this.#taker(section);
      this.#states[section] = length === 0 ? 2 : 1;
      if (length === 0) this.#sinks[section]?.finish();
    }
    this.#section = section;
    this.#left = length;
  }
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the checkpoint over several groups is damaged: ${reason}`);
}
