import { MiB } from "../../base/index.js";
import { ConfigError, FormatVersionError, type Instance, StorageError } from "../../model/index.js";
import type { LogCondition, LogGap } from "../port.js";
import {
  type BatchStamp,
  batchChecksumHolds,
  batchHeaderBytesMin,
  batchLengthAt,
  batchVersion,
  batchVersionAt,
  clusterIdAt,
  clusterIdBytes,
  discardName,
  emptyStamp,
  hasClusterId,
  markerName,
  paddedLength,
  parseName,
  readStamp,
  recordsAt,
  sectorBytes,
} from "./batch-format.js";
import { logGapsMax } from "./config.js";
import { type FileSystem, type StoredFile, storageError } from "./file-system.js";
import { SegmentIndex } from "./log-revisit.js";

/** A segment file as a scan found it. */
export interface ScannedSegment {
  readonly generation: number;
  readonly path: string;
  readonly bytes: number;
  /** Of its valid batches; 0 if it has none. */
  firstSequence: number;
  lastSequence: number;
  instanceMax: number;
  readonly index: SegmentIndex;
}

export interface LogScanResult {
  readonly condition: LogCondition;
  /** The file that says that there is a log. */
  readonly marked: boolean;
  /** In order of generation, those without a valid batch included. */
  readonly segments: readonly ScannedSegment[];
  /** Paths of spare files. */
  readonly spares: readonly string[];
  /** Highest generation any file was made for. */
  readonly generation: number;
  /** The last batch there is; the next one gets the number after it. */
  readonly sequence: number;
  /** The highest sequence that a batch says was synced. */
  readonly confirmed: number;
  /** The lowest sequence the log still needs. */
  readonly front: number;
  /** The highest instance of any record that was ever in the log, as far as it is needed. */
  readonly reach: number;
  /** What a holed log lacks; empty for any other. */
  readonly gaps: readonly LogGap[];
}

/** Sequences that are missing between two batches, or before the first, and what the batch behind them says of them. */
interface Hole {
  readonly first: number;
  readonly last: number;
  readonly behind: number;
  readonly reach: number;
  readonly facts: number;
}

type Visit = (bytes: Uint8Array, view: DataView, start: number, end: number) => Instance | void;

const windowBytes = 1 * MiB;
const NOTHING = new Uint8Array(0);

/**
 * Reads a whole log: every segment in order of generation, every sector where a valid batch has not been found. What it
 * cannot prove to be a torn last write counts as damage. With F the front, C the highest confirmed sequence and L the
 * last of the newest unbroken run of sequences, the log is intact iff that run begins at or before F and L ≥ C:
 *
 * - a batch missing before another valid one, be that a seal, begins a run above F;
 * - a batch missing at the end, which nothing follows, was the write under way when the machine stopped, since the next
 *   write begins only when the one before is synced;
 * - L < C, which every batch excludes by itself (it confirms only earlier ones), would be files of different runs mixed, or
 *   the last batch found in a wrong place.
 *
 * A log that is not intact is merely holed if L ≥ C and of each missing run of sequences from F on it is known that it held
 * no fact that counts: the batch behind it says that all of its records had an instance, or a segment begins behind it, whose
 * prologue says everything again that is not of an instance.
 *
 * What stands where a batch should is read a second time before it counts as none: memory, cable and controller err too, and
 * then the disk still has it.
 */
export class LogScan {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #clusterId: string;
  readonly #clusterIdBytes: Uint8Array;
  readonly #visit: Visit;
  readonly #done: (error: Error | null, result: LogScanResult | null) => void;
  readonly #segments: ScannedSegment[] = [];
  readonly #spares: string[] = [];
  #generation = 0;
  #marked = false;
  #discarded = false;
  /** Sequences of the run of batches being read. */
  #runFirst = 0;
  #runLast = 0;
  #sequenceMax = 0;
  #confirmed = 0;
  #front = 1;
  #reach = 0;
  /** The last batch that begins a segment: with its prologue. */
  #prologue = 0;
  /** Records visited. */
  #visited = 0;
  readonly #holes: Hole[] = [];
  /** Batches do not follow each other by their numbers, or are too many to be told of: nothing is concluded from what lacks. */
  #disorder = false;
  readonly #stamp: BatchStamp = emptyStamp();
  /** Part of the present file: `#bytes[0, #filled)` stands at offset `#base`. */
  #bytes = NOTHING;
  #view = new DataView(NOTHING.buffer);
  #base = 0;
  #filled = 0;
  /** Where in the present file the next batch belongs, and whether what stands there has been read twice. */
  #expected = 0;
  #readTwice = false;

  constructor(
    fs: FileSystem,
    directory: string,
    clusterId: string,
    visit: Visit,
    done: (error: Error | null, result: LogScanResult | null) => void,
  ) {
    this.#fs = fs;
    this.#directory = directory;
    this.#clusterId = clusterId;
    this.#clusterIdBytes = clusterIdBytes(clusterId);
    this.#visit = visit;
    this.#done = done;
  }

  run(): void {
    this.#fs.list(this.#directory, (error, names) => {
      if (error !== null) return this.#done(storageError(`cannot list ${this.#directory}`, error), null);
      const found: { path: string; generation: number }[] = [];
      for (const name of names.sort()) {
        const parsed = parseName(name);
        if (name === markerName) this.#marked = true;
        if (name === discardName) this.#discarded = true;
        if (parsed === null) continue;
        const path = `${this.#directory}/${name}`;
        this.#generation = Math.max(this.#generation, parsed.generation);
        if (parsed.kind === "spare") this.#spares.push(path);
        else found.push({ path, generation: parsed.generation });
      }
      this.#next(found, 0);
    });
  }

  #next(found: readonly { path: string; generation: number }[], index: number): void {
    const entry = found[index];
    if (entry === undefined) return this.#judge();
    const { path, generation } = entry;
    this.#fs.open(path, "read", (error, file, bytes) => {
      if (error !== null || file === null) {
        return this.#done(storageError(`cannot open ${path}`, error ?? new Error("no file")), null);
      }
      const segment: ScannedSegment = {
        generation,
        path,
        bytes,
        firstSequence: 0,
        lastSequence: 0,
        instanceMax: 0,
        index: new SegmentIndex(generation, path),
      };
      this.#segments.push(segment);
      this.#base = 0;
      this.#filled = 0;
      this.#expected = 0;
      this.#readTwice = false;
      this.#read(file, segment, 0, (failure) => {
        file.close(() => (failure === null ? this.#next(found, index + 1) : this.#done(failure, null)));
      });
    });
  }

  /** Looks for batches from `offset` on in what is in memory, and loads more until the file ends. */
  #read(file: StoredFile, segment: ScannedSegment, offset: number, done: (error: Error | null) => void): void {
    let at = offset;
    while (segment.bytes - at >= batchHeaderBytesMin) {
      const local = at - this.#base;
      if (local + batchHeaderBytesMin > this.#filled) return this.#load(file, segment, at, batchHeaderBytesMin, done);
      const length = batchLengthAt(this.#view, local, segment.generation, segment.bytes - at);
      if (length > 0 && local + length > this.#filled) return this.#load(file, segment, at, length, done);
      if (length === 0 || !batchChecksumHolds(this.#bytes, this.#view, local, length)) {
        if (at === this.#expected && !this.#readTwice) {
          this.#readTwice = true;
          return this.#load(file, segment, at, batchHeaderBytesMin, done);
        }
        at += sectorBytes;
        continue;
      }
      if (this.#isStray(segment, local, at)) {
        at += sectorBytes;
        continue;
      }
      const error = this.#accept(segment, local, length);
      if (error !== null) return done(error);
      at += paddedLength(length);
      this.#expected = at;
      this.#readTwice = false;
    }
    done(null);
  }

  #load(
    file: StoredFile,
    segment: ScannedSegment,
    offset: number,
    needed: number,
    done: (error: Error | null) => void,
  ): void {
    const wanted = Math.min(segment.bytes - offset, Math.max(needed, windowBytes));
    if (wanted > this.#bytes.length) {
      this.#bytes = new Uint8Array(wanted);
      this.#view = new DataView(this.#bytes.buffer);
    }
    file.read(this.#bytes, 0, wanted, offset, (error, count) => {
      if (error !== null) return done(storageError(`cannot read ${segment.path}`, error));
      if (count < needed) return done(new StorageError(`${segment.path} shrank while it was read`, false));
      this.#base = offset;
      this.#filled = count;
      this.#read(file, segment, offset, done);
    });
  }

  /**
   * Whether the valid batch at `local` was meant for another place than this one, where it counts for nothing but this: it
   * was written, so a log that ends before it has lost it.
   */
  #isStray(segment: ScannedSegment, local: number, offset: number): boolean {
    if (batchVersionAt(this.#view, local) > batchVersion) return false;
    if (!hasClusterId(this.#bytes, local + 24, this.#clusterIdBytes)) return false;
    const stamp = this.#stamp;
    readStamp(this.#view, local, stamp);
    if (stamp.generation === segment.generation && (stamp.place === offset || stamp.place < 0)) return false;
    this.#confirmed = Math.max(this.#confirmed, stamp.sequence);
    return true;
  }

  /** Takes in the valid batch at `at`: counts it and shows its records. */
  #accept(segment: ScannedSegment, at: number, length: number): Error | null {
    const version = batchVersionAt(this.#view, at);
    if (version > batchVersion) {
      return new FormatVersionError(
        `${segment.path} was written in log format ${version}; this program reads up to ${batchVersion}`,
      );
    }
    if (!hasClusterId(this.#bytes, at + 24, this.#clusterIdBytes)) {
      const clusterId = clusterIdAt(this.#bytes, at + 24);
      return new ConfigError(`${segment.path} belongs to cluster ${clusterId}, not to ${this.#clusterId}`);
    }
    const stamp = this.#stamp;
    readStamp(this.#view, at, stamp);
    if (this.#runLast === 0 || stamp.sequence !== this.#runLast + 1) {
      this.#runFirst = stamp.sequence;
      this.#lacks(this.#runLast + 1, stamp);
    }
    this.#runLast = stamp.sequence;
    this.#reach = Math.max(this.#reach, stamp.reach, stamp.instanceMax);
    if (segment.firstSequence === 0 && stamp.place === 0 && stamp.factual) this.#prologue = stamp.sequence;
    this.#sequenceMax = Math.max(this.#sequenceMax, stamp.sequence);
    this.#confirmed = Math.max(this.#confirmed, stamp.confirmed);
    this.#front = Math.max(this.#front, stamp.front);
    if (segment.firstSequence === 0) segment.firstSequence = stamp.sequence;
    segment.lastSequence = stamp.sequence;
    segment.instanceMax = Math.max(segment.instanceMax, stamp.instanceMax);

    const end = at + length;
    let from = at + recordsAt(version);
    let instanceMin = Infinity;
    for (let record = 0; record < stamp.records; record++) {
      const start = from + 4;
      const bytes = start <= end ? this.#view.getUint32(from, true) : Infinity;
      if (start + bytes > end) return new StorageError(`${segment.path}: a batch contradicts its own lengths`, false);
      this.#visited++;
      // Whoever does not say of which instance a record is may be shown it once more for any.
      const instance = this.#visit(this.#bytes, this.#view, start, start + bytes) ?? 1;
      if (instance > 0 && instance < instanceMin) instanceMin = instance;
      from = start + bytes;
    }
    const place = this.#base + at;
    segment.index.note(place, place + paddedLength(length), instanceMin, stamp.instanceMax);
    return null;
  }

  /** Notes that the sequences from `first` up to the batch of this stamp are missing. */
  #lacks(first: number, { sequence, reach, facts }: BatchStamp): void {
    if (sequence < first || this.#holes.length >= logGapsMax) this.#disorder = true;
    else if (sequence > first) {
      this.#holes.push({ first, last: sequence - 1, behind: this.#visited, reach, facts });
    }
  }

  #condition(needed: readonly Hole[]): LogCondition {
    if (this.#discarded) return "damaged";
    if (this.#runLast === 0) {
      if (this.#confirmed > 0) return "damaged";
      return this.#marked ? "intact" : "missing";
    }
    if (this.#runLast < this.#confirmed) return "damaged";
    if (this.#runFirst <= this.#front) return "intact";
    const known = needed.every(
      ({ first, last, reach, facts }) => reach >= 0 && (facts < Math.max(first, this.#front) || this.#prologue > last),
    );
    return known && !this.#disorder ? "holed" : "damaged";
  }

  #judge(): void {
    const needed = this.#holes.filter(({ last }) => last >= this.#front);
    const condition = this.#condition(needed);
    this.#done(null, {
      condition,
      marked: this.#marked,
      segments: this.#segments,
      spares: this.#spares,
      generation: this.#generation,
      sequence: Math.max(this.#sequenceMax, this.#confirmed),
      confirmed: this.#confirmed,
      front: this.#front,
      reach: this.#reach,
      gaps: condition === "holed" ? needed.map(({ behind, reach }) => ({ behind, through: reach })) : [],
    });
  }
}
