/**
 * The log's format on disk. A segment file is a row of batches, each the outcome of one group commit, each beginning at a
 * multiple of 512 bytes. Numbers are little-endian.
 *
 * | at | bytes | what |
 * |---|---|---|
 * | 0 | u32 | CRC-32 of bytes 4 to `length` |
 * | 4 | u32 | magic, "SYWL" |
 * | 8 | u16 | format version |
 * | 10 | u16 | 1 if it has a record of no instance, a fact, else 0 |
 * | 12 | u32 | `length`: header and records, without the padding |
 * | 16 | f64 | generation of the segment |
 * | 24 | 8 | cluster id |
 * | 32 | f64 | sequence: batches of one log are numbered 1, 2, 3, … without a gap, across segments and restarts |
 * | 40 | f64 | confirmed: the highest sequence known to be synced when this batch was written |
 * | 48 | f64 | front: the lowest sequence the log still needs; files below it may be gone |
 * | 56 | f64 | highest instance of its records, 0 for none |
 * | 64 | u32 | number of records |
 * | 68 | u32 | place: the batch's offset in its file, in sectors |
 * | 72 | f64 | reach: the highest instance of all records in front of this batch, 0 for none |
 * | 80 | f64 | facts: the last batch in front of this one with such a record, 0 for none |
 * | 88 | | records, each u32 length and that many bytes |
 *
 * Every version keeps the first 32 bytes, so that an older program recognises a newer batch as one. A batch without
 * records is a seal. Since the checksum covers generation, sequence, place and cluster, no batch is valid anywhere but where
 * it belongs: a recycled file's old content is another generation's (DESIGN section 6, rule 3), and what a disk has put in a
 * wrong place is recognised as that.
 *
 * `reach` and `facts` say of batches that are lost what a replica has to know to go on without them: that they held no
 * record but of instances, and none above `reach` (docs/decisions/0007-record-repair.md). Version 1 had neither, nor `place`:
 * its records begin at 72. Its batches are still read.
 */
import { crc32 } from "node:zlib";
import { assert, type ByteWriter } from "../../base/index.js";

export const sectorBytes = 512;
export const batchHeaderBytes = 88;
export const batchVersion = 2;
/** Of the shortest header that any version has. */
export const batchHeaderBytesMin = 72;
const magic = 0x4c575953;

/** What the header of a batch says besides its lengths. */
export interface BatchStamp {
  generation: number;
  sequence: number;
  confirmed: number;
  front: number;
  instanceMax: number;
  records: number;
  /** Offset in the file; -1 in a batch of version 1. */
  place: number;
  /** -1 in a batch of version 1, which does not say. */
  reach: number;
  /** Infinity in a batch of version 1: it may be any. */
  facts: number;
  /** It has a fact itself; false in a batch of version 1. */
  factual: boolean;
}

export function emptyStamp(): BatchStamp {
  return {
    generation: 0,
    sequence: 0,
    confirmed: 0,
    front: 1,
    instanceMax: 0,
    records: 0,
    place: 0,
    reach: 0,
    facts: 0,
    factual: false,
  };
}

export function paddedLength(length: number): number {
  return Math.ceil(length / sectorBytes) * sectorBytes;
}

/** A cluster id's 16 hexadecimal digits as the 8 bytes that batches and checkpoints carry. */
export function clusterIdBytes(clusterId: string): Uint8Array {
  assert(/^[0-9a-f]{16}$/.test(clusterId), `a cluster id is 16 hexadecimal digits, got "${clusterId}"`);
  const bytes = new Uint8Array(8);
  for (let i = 0; i < 8; i++) bytes[i] = Number.parseInt(clusterId.slice(i * 2, i * 2 + 2), 16);
  return bytes;
}

/** Whether the cluster id stored at `at` is this one. A scan asks for every batch, so it makes no text of it. */
export function hasClusterId(bytes: Uint8Array, at: number, clusterId: Uint8Array): boolean {
  for (let i = 0; i < 8; i++) if (bytes[at + i] !== clusterId[i]) return false;
  return true;
}

/** Of each byte its two digits. */
const hexadecimal = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** The cluster id stored at `at`, as hexadecimal digits. */
export function clusterIdAt(bytes: Uint8Array, at: number): string {
  let text = "";
  for (let i = at; i < at + 8; i++) text += hexadecimal[bytes[i] as number] as string;
  return text;
}

/**
 * Completes a batch whose records stand in `writer` behind `batchHeaderBytes` skipped bytes: writes the header and pads it
 * to whole sectors. The writer's length is then what goes to disk.
 */
export function sealBatch(writer: ByteWriter, stamp: BatchStamp, clusterId: Uint8Array): void {
  const length = writer.length;
  const padding = paddedLength(length) - length;
  const tail = writer.skip(padding);
  const { bytes, view } = writer;
  bytes.fill(0, tail, tail + padding);
  view.setUint32(4, magic, true);
  view.setUint16(8, batchVersion, true);
  view.setUint16(10, stamp.factual ? 1 : 0, true);
  view.setUint32(12, length, true);
  view.setFloat64(16, stamp.generation, true);
  bytes.set(clusterId, 24);
  view.setFloat64(32, stamp.sequence, true);
  view.setFloat64(40, stamp.confirmed, true);
  view.setFloat64(48, stamp.front, true);
  view.setFloat64(56, stamp.instanceMax, true);
  view.setUint32(64, stamp.records, true);
  view.setUint32(68, stamp.place / sectorBytes, true);
  view.setFloat64(72, stamp.reach, true);
  view.setFloat64(80, stamp.facts, true);
  view.setUint32(0, crc32(bytes.subarray(4, length)), true);
}

/** Where the records of a batch of this version begin. */
export function recordsAt(version: number): number {
  return version === 1 ? batchHeaderBytesMin : batchHeaderBytes;
}

/**
 * The length of the batch whose first 32 bytes stand at `at`, before its checksum has been looked at; 0 if none begins there
 * that could be of this generation or, since a disk may put things in a wrong place, of a later one, or if it would exceed
 * `bytesMax`. What a recycled file holds from its earlier life is of earlier ones.
 */
export function batchLengthAt(view: DataView, at: number, generation: number, bytesMax: number): number {
  if (view.getUint32(at + 4, true) !== magic || !(view.getFloat64(at + 16, true) >= generation)) return 0;
  const length = view.getUint32(at + 12, true);
  return length >= recordsAt(view.getUint16(at + 8, true)) && length <= bytesMax ? length : 0;
}

export function batchChecksumHolds(bytes: Uint8Array, view: DataView, at: number, length: number): boolean {
  return view.getUint32(at, true) === crc32(bytes.subarray(at + 4, at + length));
}

export function batchVersionAt(view: DataView, at: number): number {
  return view.getUint16(at + 8, true);
}

export function readStamp(view: DataView, at: number, into: BatchStamp): void {
  into.generation = view.getFloat64(at + 16, true);
  into.sequence = view.getFloat64(at + 32, true);
  into.confirmed = view.getFloat64(at + 40, true);
  into.front = view.getFloat64(at + 48, true);
  into.instanceMax = view.getFloat64(at + 56, true);
  into.records = view.getUint32(at + 64, true);
  const older = batchVersionAt(view, at) === 1;
  into.place = older ? -1 : view.getUint32(at + 68, true) * sectorBytes;
  into.reach = older ? -1 : view.getFloat64(at + 72, true);
  into.facts = older ? Infinity : view.getFloat64(at + 80, true);
  into.factual = !older && view.getUint16(at + 10, true) === 1;
}

/** Whether a sector may be the beginning of a batch of any generation; for tests and damage by the simulator. */
export function beginsBatch(view: DataView, at: number): boolean {
  return at + batchHeaderBytesMin <= view.byteLength && view.getUint32(at + 4, true) === magic;
}

const namePattern = /^(segment|spare)-(\d{12})$/;

export function segmentName(generation: number): string {
  return `segment-${String(generation).padStart(12, "0")}`;
}

export function spareName(generation: number): string {
  return `spare-${String(generation).padStart(12, "0")}`;
}

/** An empty file beside the segments, from before the first one on: a directory without it is not a log that has nothing. */
export const markerName = "begun";

/** An empty file that is there while a log is being discarded: what is left of such a log is good for nothing. */
export const discardName = "discarded";

/** Reads a file name of the log's directory; null for one that is not the log's. */
export function parseName(name: string): { kind: "segment" | "spare"; generation: number } | null {
  const match = namePattern.exec(name);
  if (match === null) return null;
  return { kind: match[1] as "segment" | "spare", generation: Number(match[2]) };
}
