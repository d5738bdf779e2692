import { assert, KiB } from "../../base/index.js";
import type { Done, FileSystem, OpenMode, StoredFile } from "./file-system.js";
import { SegmentIndex } from "./log-revisit.js";

/** Zeros are written ahead in pieces of this size, each synced by itself, so that a log's own sync waits for one at most. */
const pieceBytesMax = 256 * KiB;
const zeros = new Uint8Array(pieceBytesMax);

/**
 * One segment file that is being written, or being prepared to be.
 *
 * Space is taken ahead of need by really writing zeros: a batch then overwrites blocks that exist, and its sync has no
 * file length or block map to store. Invariant: zeros are written only at or behind `allocated`, batches only before it,
 * so the two never overlap; a batch that reaches beyond waits for the piece under way and then extends the file itself.
 */
export class Segment {
  readonly generation: number;
  readonly path: string;
  /** Of its durable batches. */
  readonly index: SegmentIndex;
  /** Sequence of its first batch; 0 as long as it has none. */
  firstSequence = 0;
  /** Highest instance of its records. */
  instanceMax = 0;
  /** Offset of the next batch. */
  used = 0;
  /** Bytes that exist in the file. */
  allocated = 0;
  /** Writes of batches and zeros under way; the file is closed only at 0. */
  #underWay = 0;
  #file: StoredFile | null = null;
  readonly #synced: boolean;
  readonly #segmentBytes: number;
  readonly #onError: (what: string, error: Error) => void;
  #target = 0;
  #extending = false;
  #afterPiece: Done | null = null;
  #whenIdle: (() => void) | null = null;

  constructor(
    generation: number,
    path: string,
    segmentBytes: number,
    synced: boolean,
    onError: (what: string, error: Error) => void,
  ) {
    this.generation = generation;
    this.path = path;
    this.index = new SegmentIndex(generation, path);
    this.#segmentBytes = segmentBytes;
    this.#synced = synced;
    this.#onError = onError;
  }

  get isOpen(): boolean {
    return this.#file !== null;
  }

  /** Creates the file, or takes over a spare one, and makes its name durable; `done` only if that succeeded. */
  create(fs: FileSystem, directory: string, spare: string | null, done: () => void): void {
    this.#underWay++;
    const fail = (error: Error): void => {
      this.#settle();
      this.#onError(`cannot create ${this.path}`, error);
    };
    const open = (): void => {
      const mode: OpenMode = `${spare === null ? "create" : "write"}${this.#synced ? " synced" : ""}`;
      fs.open(this.path, mode, (error, file, bytes) => {
        if (error !== null || file === null) return fail(error ?? new Error("no file"));
        fs.syncDirectory(directory, (failure) => {
          this.#file = file;
          this.allocated = bytes;
          if (failure !== null) return fail(failure);
          this.#settle();
          done();
          if (this.#whenIdle === null) this.extendTo(0);
        });
      });
    };
    if (spare === null) open();
    else fs.rename(spare, this.path, (error) => (error === null ? open() : fail(error)));
  }

  /** Takes space in the background until the file has `bytes` of it, up to the size of a segment. */
  extendTo(bytes: number): void {
    this.#target = Math.max(this.#target, Math.min(bytes, this.#segmentBytes));
    if (!this.#extending && this.#file !== null) this.#extend();
  }

  /** The log has failed: no more space is taken. */
  stopExtending(): void {
    this.#target = 0;
  }

  #extend(): void {
    const step = Math.max(4 * KiB, Math.floor(this.#segmentBytes / 16));
    const piece = Math.min(pieceBytesMax, step, this.#segmentBytes - this.allocated);
    // Whole pieces only: following every batch by a few bytes would add a sync to each.
    if (piece <= 0 || this.#target < this.allocated + piece) return;
    const file = this.#file;
    assert(file !== null, "a segment is extended while it is open");
    this.#extending = true;
    this.#underWay++;
    const end = (error: Error | null): void => {
      this.#extending = false;
      const waiting = this.#afterPiece;
      this.#afterPiece = null;
      this.#settle();
      if (error === null) this.allocated += piece;
      else this.#onError(`cannot allocate ${this.path}`, error);
      if (waiting !== null) waiting(error);
      else if (error === null && this.#whenIdle === null) this.#extend();
    };
    file.write(zeros, 0, piece, this.allocated, end);
  }

  /** Writes a batch behind the last one; `done` when it is as durable as the log was opened to make it. */
  append(bytes: Uint8Array, length: number, done: Done): void {
    const file = this.#file;
    assert(file !== null, "a batch goes into an open segment");
    const offset = this.used;
    this.used += length;
    this.#underWay++;
    const end = (error: Error | null): void => {
      this.#settle();
      done(error);
    };
    const write = (): void => {
      this.allocated = Math.max(this.allocated, offset + length);
      file.write(bytes, 0, length, offset, end);
    };
    if (offset + length <= this.allocated || !this.#extending) write();
    else this.#afterPiece = (error) => (error === null ? write() : end(error));
  }

  /** Closes the file once nothing is under way; calls back even where closing fails, since nothing depends on it. */
  close(done: () => void): void {
    assert(this.#whenIdle === null, "a segment is closed once");
    this.#whenIdle = () => {
      const file = this.#file;
      this.#file = null;
      if (file === null) done();
      else file.close(done);
    };
    if (this.#underWay === 0) this.#whenIdle();
  }

  #settle(): void {
    this.#underWay--;
    if (this.#underWay === 0) this.#whenIdle?.();
  }
}
