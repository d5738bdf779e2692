// Hot file: begin and end run once per record and allocate nothing; a group commit may allocate a little. Watched by
// bench/wal.mjs.

import { assert, ByteWriter, KiB, MiB } from "../../base/index.js";
import type { Instance, StorageError } from "../../model/index.js";
import type { LogCondition, LogGap, LogHandlers, LogStorage, Scheduler, Timer } from "../port.js";
import {
  batchHeaderBytes,
  type BatchStamp,
  clusterIdBytes,
  discardName,
  emptyStamp,
  markerName,
  sealBatch,
  segmentName,
  spareName,
  parseName,
} from "./batch-format.js";
import { groupBytesMax, recordBytesMax, type StorageInit, type WalConfig, walConfig } from "./config.js";
import { type FileSystem, storageError } from "./file-system.js";
import { revisitLog, SegmentIndex } from "./log-revisit.js";
import { LogScan, type LogScanResult } from "./log-scan.js";
import { Segment } from "./segment.js";

export interface WalInit extends StorageInit {
  readonly fs: FileSystem;
  /** Holds the log's files and nothing else; created if it is not there. */
  readonly directory: string;
  readonly scheduler: Scheduler;
}

/** A group's buffer beyond this is given back once the group is durable. */
const keptBufferBytesMax = 4 * MiB;
/** What a group's buffer begins with; it grows to what the groups of a log are, and stays so. */
const firstBufferBytes = 4 * KiB;
/** The active segment has this much allocated ahead at least, and at most; in between, as much as it already uses. */
const aheadBytesMin = 256 * KiB;
const aheadBytesMax = 4 * MiB;

/** Records that are written and synced together. */
class Group {
  writer = new ByteWriter(firstBufferBytes, groupBytesMax);
  records = 0;
  instanceMax = 0;
  /** Lowest instance of its records, Infinity for none. */
  instanceMin = Infinity;
  /** It has a record of no instance. */
  facts = false;
  /** Ordinal of its last record. */
  position = 0;
  /** What its records count for in `pendingBytes`. */
  bytes = 0;

  clear(): void {
    if (this.writer.bytes.length > keptBufferBytesMax) this.writer = new ByteWriter(firstBufferBytes, groupBytesMax);
    this.writer.clear();
    this.records = 0;
    this.instanceMax = 0;
    this.instanceMin = Infinity;
    this.facts = false;
    this.bytes = 0;
  }
}

/** A segment that is full, or from an earlier run: all that is left to do with it is to drop it. */
interface ClosedSegment {
  readonly path: string;
  readonly firstSequence: number;
  readonly instanceMax: number;
  readonly bytes: number;
  readonly index: SegmentIndex;
}

/**
 * The write-ahead log: group commit into segment files (format: `batch-format.ts`, recovery: `log-scan.ts`).
 *
 * One group is being written while the next one is being filled; one write and one sync are under way at a time. Every
 * run begins a segment of its own, so a torn tail is never written over. The first failure of any write, sync or
 * directory operation ends the log: nothing is retried and nothing is confirmed after it.
 */
export class Wal implements LogStorage {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #config: WalConfig;
  readonly #clusterId: string;
  readonly #clusterIdBytes: Uint8Array;
  readonly #scheduler: Scheduler;
  readonly #idle: Timer;
  readonly #synced: boolean;

  #state: "new" | "recovering" | "recovered" | "running" | "closing" | "closed" = "new";
  #handlers: LogHandlers | null = null;
  #failure: StorageError | null = null;
  #onClosed: (() => void) | null = null;

  #filling = new Group();
  #writing = new Group();
  #position = 0;
  #pendingBytes = 0;
  /** Offset of the record being written, -1 between records. */
  #record = -1;
  #flushWanted = false;
  #underWay = false;
  /** Header of the batch written last. */
  readonly #stamp: BatchStamp = emptyStamp();

  #generation = 0;
  #sequence = 0;
  /** The last batch known to be synced, and the last one among them that has records. */
  #syncedSequence = 0;
  #recordsSequence = 0;
  /** What the last synced batch says about them: the log as a recovery would understand it now. */
  #confirmedOnDisk = 0;
  #frontOnDisk = 1;
  /** What the next batch says of those in front of it, should they ever be lost: see `BatchStamp`. */
  #reach = 0;
  #facts = 0;
  /** The lowest sequence still needed. Invariant: files below it are dropped only when it is `#frontOnDisk`. */
  #front = 1;

  #active: Segment | null = null;
  /** Of the segment that the batch under way goes into. */
  #writingIndex: SegmentIndex | null = null;
  #next: Segment | null = null;
  /** Oldest first. */
  readonly #closed: ClosedSegment[] = [];
  readonly #spares: string[] = [];
  readonly #drops: ClosedSegment[] = [];
  #dropping = false;
  /** Segments whose files are open or being closed. */
  #openSegments = 0;
  #idleArmed = false;
  #lastWriteMs = 0;
  #writeStartedMs = 0;
  readonly #onLogWritten: ((durationMs: number) => void) | undefined;

  readonly #onWritten = (error: Error | null): void => this.#finishWrite(error);
  readonly #onReady = (): void => this.#pump();
  readonly #onSegmentError = (what: string, error: Error): void => this.#fail(what, error);
  readonly #onSegmentClosed = (): void => {
    this.#openSegments--;
    this.#finishClose();
  };

  constructor(init: WalInit) {
    assert(init.durability !== "memory", "a log of memory durability has no files");
    this.#fs = init.fs;
    this.#directory = init.directory;
    this.#config = walConfig(init);
    this.#clusterId = init.clusterId;
    this.#clusterIdBytes = clusterIdBytes(init.clusterId);
    this.#scheduler = init.scheduler;
    this.#onLogWritten = init.onLogWritten;
    this.#synced = init.durability === "fsync";
    this.#idle = init.scheduler.timer(() => this.#onIdle());
  }

  recover(
    visit: (bytes: Uint8Array, view: DataView, start: number, end: number) => Instance | void,
    done: (error: Error | null, condition: LogCondition, extent?: number, gaps?: readonly LogGap[]) => void,
  ): void {
    assert(this.#state === "new", `a log is recovered once, and first (${this.#state})`);
    this.#state = "recovering";
    this.#fs.makeDirectory(this.#directory, (error) => {
      if (error !== null) return done(storageError(`cannot create ${this.#directory}`, error), "damaged");
      new LogScan(this.#fs, this.#directory, this.#clusterId, visit, (failure, result) => {
        if (result === null) return done(failure, "damaged");
        this.#adopt(result);
        const end = (problem: Error | null): void => {
          this.#state = "recovered";
          done(problem, result.condition, this.#sequence, result.gaps);
        };
        this.#syncUnconfirmed(result, (problem) => {
          // One from a version without the marker has it from now on; one that is missing must not seem to be there.
          if (problem !== null || result.marked || result.condition === "missing") end(problem);
          else this.#found(end);
        });
      }).run();
    });
  }

  /** Makes durable that there is a log, so that one that is missing later is missed. */
  #found(done: (error: Error | null) => void): void {
    this.#mark(markerName, (error) =>
      done(error === null ? null : storageError(`cannot begin a log in ${this.#directory}`, error)),
    );
  }

  /** Creates an empty file, durably. */
  #mark(name: string, done: (error: Error | null) => void): void {
    this.#fs.open(`${this.#directory}/${name}`, "create", (error, file) => {
      if (error !== null || file === null) return done(error ?? new Error("no file"));
      file.close(() => this.#fs.syncDirectory(this.#directory, done));
    });
  }

  /** Goes on from what a scan found. */
  #adopt(result: LogScanResult): void {
    const intact = result.condition === "intact" || result.condition === "missing";
    let sequence = 0;
    for (const { path, bytes, firstSequence, lastSequence, instanceMax, index } of result.segments) {
      // A file without any batch was prepared ahead, or holds nothing but a torn one. A damaged log keeps it for analysis.
      if (firstSequence === 0 && intact) this.#spares.push(path);
      else this.#closed.push({ path, bytes, instanceMax, firstSequence: firstSequence || sequence + 1, index });
      sequence = Math.max(sequence, lastSequence);
    }
    this.#spares.push(...result.spares);
    this.#generation = result.generation;
    this.#sequence = result.sequence;
    this.#syncedSequence = result.sequence;
    this.#recordsSequence = result.sequence;
    this.#confirmedOnDisk = result.confirmed;
    this.#front = result.front;
    this.#frontOnDisk = result.front;
    this.#reach = result.reach;
    // Which batch said something last is not known for sure, and need not be: this run's prologue says it all again.
    this.#facts = result.sequence;
  }

  /**
   * Syncs what the last run wrote and nothing confirms as synced: a killed process leaves it in the page cache alone, and
   * the host will act on having read it.
   */
  #syncUnconfirmed(result: LogScanResult, done: (error: Error | null) => void): void {
    const unconfirmed = this.#synced
      ? result.segments.filter((segment) => segment.lastSequence > result.confirmed)
      : [];
    const next = (): void => {
      const segment = unconfirmed.pop();
      if (segment === undefined) return done(null);
      const fail = (error: Error): void => done(storageError(`cannot sync ${segment.path}`, error));
      this.#fs.open(segment.path, "write", (error, file) => {
        if (error !== null || file === null) return fail(error ?? new Error("no file"));
        file.sync((failure) => file.close(() => (failure === null ? next() : fail(failure))));
      });
    };
    next();
  }

  /**
   * Marks the log as discarded and removes one segment after the other, each durably: a crash on the way leaves a log that
   * the next recovery calls damaged, and never one that seems complete or merely holed.
   */
  reset(done: (error: Error | null) => void): void {
    assert(this.#state === "recovered", `a log is reset between its recovery and its start (${this.#state})`);
    const paths = [...this.#closed.splice(0).map((segment) => segment.path), ...this.#spares.splice(0)];
    this.#sequence = 0;
    this.#syncedSequence = 0;
    this.#recordsSequence = 0;
    this.#confirmedOnDisk = 0;
    this.#front = 1;
    this.#frontOnDisk = 1;
    this.#reach = 0;
    this.#facts = 0;
    const end = (error: Error | null): void =>
      done(error === null ? null : storageError(`cannot empty ${this.#directory}`, error));
    const remove = (path: string, then: () => void): void =>
      this.#fs.remove(path, (error) => {
        if (error !== null) return end(error);
        this.#fs.syncDirectory(this.#directory, (failure) => (failure === null ? then() : end(failure)));
      });
    const next = (index: number): void => {
      const path = paths[index];
      if (path !== undefined) return remove(path, () => next(index + 1));
      this.#mark(markerName, (error) => {
        if (error !== null) end(error);
        else remove(`${this.#directory}/${discardName}`, () => end(null));
      });
    };
    this.#mark(discardName, (error) => (error === null ? next(0) : end(error)));
  }

  start(handlers: LogHandlers): void {
    assert(this.#state === "recovered", `a log is started once, after it was recovered (${this.#state})`);
    this.#state = "running";
    this.#handlers = handlers;
    this.#active = this.#createSegment();
    this.#active.extendTo(aheadBytesMin);
    this.#removeSurplus();
    this.#beginSegment(handlers);
    this.#armIdle();
  }

  begin(instance: Instance): ByteWriter {
    assert(this.#record < 0, "the record before is not ended");
    assert(this.#handlers !== null, "a log is appended to after it was started");
    const group = this.#filling;
    const writer = group.writer;
    if (group.records === 0) {
      writer.clear();
      writer.skip(batchHeaderBytes);
    }
    if (instance > group.instanceMax) group.instanceMax = instance;
    if (instance > 0 && instance < group.instanceMin) group.instanceMin = instance;
    if (instance === 0) group.facts = true;
    this.#record = writer.skip(4);
    return writer;
  }

  end(): number {
    assert(this.#record >= 0, "no record was begun");
    const group = this.#filling;
    const bytes = group.writer.length - this.#record - 4;
    assert(bytes >= 0 && bytes <= recordBytesMax, `a record has at most ${recordBytesMax} bytes, got ${bytes}`);
    group.writer.view.setUint32(this.#record, bytes, true);
    this.#record = -1;
    group.records++;
    group.bytes += bytes + 4;
    this.#pendingBytes += bytes + 4;
    group.position = ++this.#position;
    // What is appended after a failure goes nowhere; it may not fill memory either while the host stops.
    if (this.#failure !== null || this.#state !== "running") group.clear();
    return this.#position;
  }

  flush(): void {
    assert(this.#record < 0, "a record is ended before it is flushed");
    if (this.#filling.records === 0) return;
    this.#flushWanted = true;
    this.#pump();
  }

  trim(through: Instance): void {
    if (this.#active === null || this.#failure !== null) return;
    let keep = 0;
    while (keep < this.#closed.length && (this.#closed[keep] as ClosedSegment).instanceMax <= through) keep++;
    const first = this.#closed[keep] ?? this.#active;
    const front = first.firstSequence === 0 ? this.#sequence + 1 : first.firstSequence;
    if (front <= this.#front) return;
    this.#front = front;
    // The files go once a synced batch says that they may be missing.
    this.#armIdle();
  }

  revisit(
    from: Instance,
    through: Instance,
    visit: (bytes: Uint8Array, view: DataView, start: number, end: number) => void,
    done: (error: Error | null) => void,
  ): void {
    assert(this.#state === "running" || this.#state === "closing", `a log is read back while it runs (${this.#state})`);
    const segments = this.#closed.map((segment) => segment.index);
    if (this.#active !== null) segments.push(this.#active.index);
    revisitLog(this.#fs, this.#clusterId, segments, from, through, visit, done);
  }

  pendingBytes(): number {
    return this.#pendingBytes;
  }

  close(done: () => void): void {
    assert(this.#onClosed === null, "a log is closed once");
    this.#onClosed = done;
    this.#idle.clear();
    if (this.#state === "running") {
      this.#state = "closing";
      this.#flushWanted = true;
      // Through a turn, since the log may have nothing to wait for and never calls back inside the call.
      this.#scheduler.turn(() => this.#pump()).request();
    } else {
      this.#state = "closed";
      this.#scheduler.turn(done).request();
    }
  }

  /** Starts the next write if there is something to write, nothing under way and a segment to take it. */
  #pump(): void {
    const active = this.#active;
    if (this.#failure !== null) return this.#finishClose();
    if (this.#underWay || active === null || !active.isOpen) return;
    if (this.#flushWanted && this.#filling.records > 0) {
      const group = this.#filling;
      this.#filling = this.#writing;
      this.#writing = group;
      this.#flushWanted = false;
      this.#write(active, group);
    } else if (this.#state === "closing") {
      if (this.#sealWanted()) this.#write(active, this.#writing);
      else this.#finishClose();
    }
  }

  /** Writes a group, or a seal if it has no records, into the active segment. */
  #write(active: Segment, group: Group): void {
    if (group.records === 0) group.writer.skip(batchHeaderBytes);
    const stamp = this.#stamp;
    stamp.generation = active.generation;
    stamp.sequence = ++this.#sequence;
    stamp.confirmed = this.#syncedSequence;
    stamp.front = this.#front;
    stamp.instanceMax = group.instanceMax;
    stamp.records = group.records;
    stamp.place = active.used;
    stamp.reach = this.#reach;
    stamp.facts = this.#facts;
    stamp.factual = group.facts;
    if (group.instanceMax > this.#reach) this.#reach = group.instanceMax;
    if (group.facts) this.#facts = stamp.sequence;
    sealBatch(group.writer, stamp, this.#clusterIdBytes);
    if (active.firstSequence === 0) active.firstSequence = stamp.sequence;
    if (group.instanceMax > active.instanceMax) active.instanceMax = group.instanceMax;
    this.#underWay = true;
    this.#writingIndex = active.index;
    this.#writeStartedMs = this.#scheduler.clock.monotonicMs();
    active.append(group.writer.bytes, group.writer.length, this.#onWritten);
    this.#makeRoom(active);
  }

  #finishWrite(error: Error | null): void {
    this.#underWay = false;
    if (error !== null) this.#fail(`cannot write to the log in ${this.#directory}`, error);
    if (this.#failure !== null) return this.#finishClose();
    const { sequence, confirmed, front, records, place } = this.#stamp;
    const { position, bytes, writer, instanceMin, instanceMax } = this.#writing;
    this.#writingIndex?.note(place, place + writer.length, instanceMin, instanceMax);
    this.#syncedSequence = sequence;
    this.#confirmedOnDisk = confirmed;
    this.#frontOnDisk = front;
    if (records > 0) this.#recordsSequence = sequence;
    this.#pendingBytes -= bytes;
    this.#writing.clear();
    this.#lastWriteMs = this.#scheduler.clock.monotonicMs();
    this.#onLogWritten?.(this.#lastWriteMs - this.#writeStartedMs);
    this.#dropTrimmed();
    this.#pump();
    this.#armIdle();
    if (records > 0) this.#handlers?.onDurable(position);
  }

  /** Keeps space ahead of the writes: in the active segment, then in the next one, and moves on when the active is full. */
  #makeRoom(active: Segment): void {
    const { segmentBytes } = this.#config;
    // A seal may stand between records that are appended and not flushed, so it never ends a segment.
    if (active.used >= segmentBytes - segmentBytes / 8 && this.#stamp.records > 0) {
      this.#closed.push({
        path: active.path,
        firstSequence: active.firstSequence,
        instanceMax: active.instanceMax,
        index: active.index,
        bytes: Math.max(active.allocated, active.used),
      });
      active.close(this.#onSegmentClosed);
      this.#active = this.#next ?? this.#createSegment();
      this.#next = null;
      if (this.#handlers !== null && this.#state === "running") this.#beginSegment(this.#handlers);
      return;
    }
    active.extendTo(active.used + Math.min(aheadBytesMax, Math.max(aheadBytesMin, active.used)));
    if (active.used < segmentBytes / 4) return;
    this.#next ??= this.#createSegment();
    // In step with the writes, and done when the active segment is three quarters full.
    this.#next.extendTo(2 * active.used - segmentBytes / 2);
  }

  #createSegment(): Segment {
    const generation = ++this.#generation;
    const path = `${this.#directory}/${segmentName(generation)}`;
    const segment = new Segment(generation, path, this.#config.segmentBytes, this.#synced, this.#onSegmentError);
    this.#openSegments++;
    segment.create(this.#fs, this.#directory, this.#spares.pop() ?? null, this.#onReady);
    return segment;
  }

  /** Nothing stands in the group being filled, so what the host appends now comes first in the new segment. */
  #beginSegment(handlers: LogHandlers): void {
    assert(this.#filling.records === 0, "a segment begins with its prologue");
    handlers.onSegment();
    if (this.#filling.records > 0) this.#flushWanted = true;
  }

  #sealWanted(): boolean {
    return this.#recordsSequence > this.#confirmedOnDisk || this.#front > this.#frontOnDisk;
  }

  #armIdle(): void {
    if (this.#idleArmed || this.#state !== "running" || !this.#sealWanted()) return;
    this.#idleArmed = true;
    this.#idle.set(this.#scheduler.clock.monotonicMs() + this.#config.sealAfterIdleMs);
  }

  #onIdle(): void {
    this.#idleArmed = false;
    if (this.#state !== "running" || this.#failure !== null || !this.#sealWanted()) return;
    if (this.#underWay || this.#active?.isOpen !== true) return this.#armIdle();
    const idleUntil = this.#lastWriteMs + this.#config.sealAfterIdleMs;
    if (this.#scheduler.clock.monotonicMs() < idleUntil) {
      this.#idleArmed = true;
      this.#idle.set(idleUntil);
    } else this.#write(this.#active, this.#writing);
  }

  /** Drops the segments below the front that the disk knows of. */
  #dropTrimmed(): void {
    for (;;) {
      const first = this.#closed[0];
      const second = this.#closed[1] ?? this.#active;
      if (first === undefined || second === null || second.firstSequence === 0) break;
      if (second.firstSequence > this.#frontOnDisk) break;
      this.#closed.shift();
      this.#drops.push(first);
    }
    this.#drop();
  }

  /** Recycles or deletes one dropped file after the other. */
  #drop(): void {
    if (this.#dropping || this.#failure !== null) return;
    const segment = this.#drops.shift();
    if (segment === undefined) return this.#finishClose();
    this.#dropping = true;
    const generation = parseName(segment.path.slice(segment.path.lastIndexOf("/") + 1))?.generation ?? 0;
    const recycled =
      this.#spares.length < this.#config.spareFilesMax && segment.bytes <= 2 * this.#config.segmentBytes
        ? `${this.#directory}/${spareName(generation)}`
        : null;
    const end = (error: Error | null): void => {
      if (error !== null) {
        this.#dropping = false;
        return this.#fail(`cannot drop ${segment.path}`, error);
      }
      this.#fs.syncDirectory(this.#directory, (failure) => {
        this.#dropping = false;
        if (failure !== null) return this.#fail(`cannot sync ${this.#directory}`, failure);
        if (recycled !== null) this.#spares.push(recycled);
        this.#drop();
      });
    };
    if (recycled === null) this.#fs.remove(segment.path, end);
    else this.#fs.rename(segment.path, recycled, end);
  }

  /** After a start: spare files beyond their maximum go. */
  #removeSurplus(): void {
    for (const path of this.#spares.splice(this.#config.spareFilesMax)) {
      this.#drops.push({ path, firstSequence: 0, instanceMax: 0, bytes: Infinity, index: new SegmentIndex(0, path) });
    }
    this.#drop();
  }

  #fail(what: string, error: Error): void {
    if (this.#failure !== null || this.#state === "closed") return;
    this.#failure = storageError(what, error);
    this.#idle.clear();
    this.#filling.clear();
    this.#active?.stopExtending();
    this.#next?.stopExtending();
    this.#handlers?.onFatal(this.#failure);
    this.#finishClose();
  }

  /** While closing: closes the files when nothing is left to write, and calls back when they are closed. */
  #finishClose(): void {
    if (this.#state === "closing") {
      const settled = this.#failure !== null || (this.#drops.length === 0 && !this.#sealWanted());
      if (this.#underWay || this.#dropping || this.#filling.records > 0 || !settled) return;
      this.#state = "closed";
      this.#active?.close(this.#onSegmentClosed);
      this.#next?.close(this.#onSegmentClosed);
      return;
    }
    if (this.#state !== "closed" || this.#openSegments > 0 || this.#onClosed === null) return;
    const done = this.#onClosed;
    this.#onClosed = null;
    done();
  }
}
