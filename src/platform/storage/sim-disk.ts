import { assert, ByteSlab, KiB, type Prng } from "../../base/index.js";
import type { SimKernel, SimProcess } from "../sim-kernel/index.js";
import {
  batchHeaderBytes,
  beginsBatch,
  emptyStamp,
  paddedLength,
  parseName,
  readStamp,
  sectorBytes,
} from "./batch-format.js";
import type { StorageInit } from "./config.js";
import type { Done, FileSystem, OpenMode, StoredFile } from "./file-system.js";
import { openStorage, type ReplicaStorage } from "./replica-storage.js";
import { SimFile } from "./sim-file.js";

export interface SimDiskOptions extends StorageInit {
  /** Tells the disks of one world apart, in paths and in their randomness. */
  readonly name?: string;
}

/** Range of a latency in virtual ms, drawn evenly. */
export interface LatencyRange {
  readonly min: number;
  readonly max: number;
}

/** What the disk does to whoever uses it, from now on. Change it at any time. */
export interface SimDiskFaults {
  /** The next sync of a file fails with this code ("EIO"), once. */
  failSync: string | null;
  /** The next write to a file fails with this code, once, after a part of it. */
  failWrite: string | null;
  /** The next batch that is written to the log lands where an older one stands, in its own segment or in another; once. */
  misdirectWrite: boolean;
  /** Files may not grow beyond this many bytes together: then ENOSPC, after the part that fits. */
  capacityBytes: number;
  /** After so many reads of files, so many are answered with a flipped bit; the disk still holds the right one. */
  flipReads: { after: number; times: number } | null;
  /** Syncs are confirmed and make nothing durable: a disk with a volatile cache that ignores flushes. */
  liesAboutSync: boolean;
}

/** Where a batch stands on the disk. */
interface BatchPlace {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

function isSegment(path: string): boolean {
  return parseName(path.slice(path.lastIndexOf("/") + 1))?.kind === "segment";
}

const directory = "/replica";
/** How the names of parts begin, see `SimDisk.attach`. */
const PART_PREFIX = "group-";

/** Simulated segments are small, so that runs cross many of them. */
const simSegmentBytes = 64 * KiB;

interface DirectoryChange {
  readonly apply: (entries: Map<string, SimFile>) => void;
}

/**
 * A disk of the simulated world. It outlives the process incarnations that are attached to it one after the other, each of
 * which runs the same log, checkpoint and identity code as a real replica does, over the disk's simulated files.
 *
 * Names are subject to loss as contents are: a created, renamed or removed name is certain only once its directory was
 * synced; a power cut keeps a random subset of the changes since.
 */
export class SimDisk {
  readonly #kernel: SimKernel;
  readonly #options: SimDiskOptions;
  readonly prng: Prng;
  readonly faults: SimDiskFaults = {
    failSync: null,
    failWrite: null,
    misdirectWrite: false,
    capacityBytes: Infinity,
    flipReads: null,
    liesAboutSync: false,
  };
  /** Of syncs, and of everything else. A slow disk is one with longer ones. */
  syncLatencyMs: LatencyRange = { min: 0.1, max: 0.3 };
  operationLatencyMs: LatencyRange = { min: 0.01, max: 0.05 };
  /** Syncs confirmed so far. */
  syncs = 0;
  /** Writes that have landed in a wrong place, and reads that were answered wrongly. */
  misdirected = 0;
  misreads = 0;
  /** It has refused the attached process a write for want of room, whether or not the process has heard of it yet. */
  refusedForRoom = false;
  /** It has failed a sync since power was last cut: processes read what the next cut may take, and no sync covers it. */
  refusedSync = false;

  /** Writes that are not durable yet. */
  readonly slab = new ByteSlab();

  readonly #entries = new Map<string, SimFile>();
  readonly #durableEntries = new Map<string, SimFile>();
  #changes: DirectoryChange[] = [];
  /** Identities are replaced as a whole, each by a file of its own. */
  readonly #damagedIdentities = new WeakSet<SimFile>();
  /** Those that are attached now: one, or one for each member of a replica with groups. */
  readonly #processes = new Map<string, SimProcess>();
  /** Operations begun in an earlier epoch have no effect any more. */
  #epoch = 0;
  #boots = 1;

  constructor(kernel: SimKernel, options: SimDiskOptions) {
    this.#kernel = kernel;
    this.#options = options;
    this.prng = kernel.prng.fork(`disk ${options.name ?? ""}`);
  }

  /**
   * Opens the storage in a new process. The one before must be dead; unless `crash` told otherwise, it alone died. A `part` is a
   * directory with a log and an identity of its own, for one of several processes that live and die together and share the
   * checkpoints; all of them are dead before the first is attached anew.
   */
  attach(process: SimProcess, part = ""): ReplicaStorage {
    assert(part === "" || part.startsWith(PART_PREFIX), `a part is called ${PART_PREFIX} and something, got ${part}`);
    assert(this.#processes.get(part)?.alive !== true, "a disk serves one live process at a time");
    if (this.#processes.has(part)) this.crash("process");
    this.#processes.set(part, process);
    const fs = new SimFileSystem(this, process, this.#epoch);
    const init = { segmentBytes: simSegmentBytes, ...this.#options, scheduler: process };
    if (part === "") return openStorage(fs, { ...init, directory });
    const checkpointDirectory = `${directory}/checkpoint`;
    return openStorage(fs, { ...init, directory: `${directory}/${part}`, checkpointDirectory });
  }

  /**
   * To be called when the attached process crashes. `power` (the default): the machine went down with it; unsynced writes
   * and directory changes are kept, lost or torn at random, and the boot id changes. `process`: the machine lives on;
   * only writes under way may be partial, and what was not synced is still not synced.
   */
  crash(kind: "power" | "process" = "power"): void {
    this.#epoch++;
    this.#processes.clear();
    if (kind === "process") {
      this.refusedForRoom = false;
      for (const file of new Set(this.#entries.values())) file.killWriter(this.prng);
      return;
    }
    this.#boots++;
    this.refusedForRoom = false;
    this.refusedSync = false;
    for (const change of this.#changes) if (this.prng.chance(0.5)) change.apply(this.#durableEntries);
    this.#changes = [];
    this.#entries.clear();
    for (const [path, file] of this.#durableEntries) this.#entries.set(path, file);
    for (const file of new Set(this.#entries.values())) file.cutPower(this.prng);
  }

  /** The disk is replaced by an empty one, between two processes. */
  wipe(): void {
    assert(!this.#inUse, "a disk is emptied while no process uses it");
    this.#epoch++;
    this.#processes.clear();
    this.#entries.clear();
    this.#durableEntries.clear();
    this.#changes = [];
    this.refusedForRoom = false;
    this.refusedSync = false;
  }

  /** Paths and contents of all files, as a process would read them now. */
  files(): { readonly path: string; readonly bytes: Uint8Array }[] {
    return [...this.#entries]
      .map(([path, file]) => ({ path, bytes: file.bytes }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  flipBit(path: string, offset: number, bit = 0): void {
    const file = this.#entries.get(path);
    assert(file !== undefined && offset < file.bytes.length, `there is no byte ${offset} in ${path}`);
    file.flip(offset, bit);
  }

  /**
   * Flips a random bit of a random batch in the log's present segments, in its header as often as behind it, and says where;
   * null if there is none. The batch may be one of a recycled file's earlier life, or the last one: then nothing of value is
   * damaged.
   */
  damageLog(): BatchPlace | null {
    const found = this.#batches();
    if (found.length === 0) return null;
    const { path, offset, length } = this.prng.pick(found);
    const at = offset + this.prng.below(this.prng.chance(0.5) ? Math.min(batchHeaderBytes, length) : length);
    this.flipBit(path, at, this.prng.below(8));
    return { path, offset: at, length: 1 };
  }

  /**
   * The same under a running process, and never in the last two batches: what looks like a torn write nobody can tell from one.
   */
  rotLog(): BatchPlace | null {
    const own = this.#batches().flatMap((place) => {
      const bytes = this.#entries.get(place.path)?.bytes as Uint8Array;
      const stamp = emptyStamp();
      readStamp(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), place.offset, stamp);
      const generation = parseName(place.path.slice(place.path.lastIndexOf("/") + 1))?.generation;
      return stamp.generation === generation ? [{ place, sequence: stamp.sequence }] : [];
    });
    const last = own.reduce((highest, { sequence }) => Math.max(highest, sequence), 0);
    const settled = own.filter(({ sequence }) => sequence <= last - 2);
    if (settled.length === 0) return null;
    const { path, offset, length } = this.prng.pick(settled).place;
    const at = offset + this.prng.below(length);
    this.flipBit(path, at, this.prng.below(8));
    return { path, offset: at, length: 1 };
  }

  /** What looks like a batch in the log's present segments, in order of place. */
  #batches(): BatchPlace[] {
    const found: BatchPlace[] = [];
    for (const { path, bytes } of this.files()) {
      if (!isSegment(path)) continue;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let offset = 0; offset + batchHeaderBytes <= bytes.length; offset += sectorBytes) {
        if (!beginsBatch(view, offset)) continue;
        found.push({ path, offset, length: Math.min(view.getUint32(offset + 12, true), bytes.length - offset) });
      }
    }
    return found;
  }

  /**
   * Where a write of a batch goes that should go elsewhere in its log, and there it is at once as durable as it gets; false if
   * there is no place for it, or it is none of a batch.
   */
  misdirect(path: string, offset: number, bytes: Uint8Array): boolean {
    if (!this.faults.misdirectWrite || !isSegment(path)) return false;
    if (!beginsBatch(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0)) return false;
    const length = paddedLength(bytes.length);
    const log = path.slice(0, path.lastIndexOf("/") + 1);
    const places = this.#batches().filter(
      (place) =>
        place.path.startsWith(log) &&
        (place.path !== path || place.offset + length <= offset || offset + length <= place.offset) &&
        this.#entries.get(place.path)?.accepts(place.offset, length) === true,
    );
    if (places.length === 0) return false;
    const place = this.prng.pick(places);
    this.#entries.get(place.path)?.overwrite(place.offset, bytes);
    this.faults.misdirectWrite = false;
    this.misdirected++;
    return true;
  }

  /**
   * Everything in one directory is gone, between two processes; of logs in several parts, that in one of them, whose name is
   * returned.
   */
  loseDirectory(name: "log" | "checkpoint"): string {
    assert(!this.#inUse, "a directory is lost while no process uses the disk");
    const part = this.#onePart((path) => path.includes(`/${name}/`));
    const lost = `${part ?? directory}/${name}/`;
    for (const entries of [this.#entries, this.#durableEntries]) {
      for (const path of entries.keys()) if (path.startsWith(lost)) entries.delete(path);
    }
    this.#changes = [];
    // Only of the log is anything read that no sync has covered: other files take their names when they are durable.
    if (name === "log") this.refusedSync = false;
    return part?.slice(directory.length + 1) ?? "";
  }

  /**
   * Flips a random bit of the identity, or of one of several; false if there is none, or if it is damaged already: with two bits
   * it may pass for another program's, whose format nobody here knows, and that no replica starts with.
   */
  damageIdentity(): boolean {
    const part = this.#onePart((path) => path.endsWith("/identity"));
    const file = this.#entries.get(`${part ?? directory}/identity`);
    if (file === undefined || file.bytes.length === 0 || this.#damagedIdentities.has(file)) return false;
    file.flip(this.prng.below(file.bytes.length), this.prng.below(8));
    this.#damagedIdentities.add(file);
    return true;
  }

  /** The directory of one of several parts that hold such a file, drawn; null if there are none. */
  #onePart(holds: (path: string) => boolean): string | null {
    const found = new Set<string>();
    for (const { path } of this.files()) {
      const [, , part = "", ...rest] = path.split("/");
      if (rest.length > 0 && part.startsWith(PART_PREFIX) && holds(path)) found.add(`${directory}/${part}`);
    }
    return found.size === 0 ? null : this.prng.pick([...found]);
  }

  get #inUse(): boolean {
    return [...this.#processes.values()].some((process) => process.alive);
  }

  /** Flips a random bit of the newest checkpoint; false if there is none. */
  damageCheckpoint(): boolean {
    const numbered = this.files().flatMap((file) => {
      const match = /checkpoint-(\d+)$/.exec(file.path);
      return match === null ? [] : [{ ...file, through: Number(match[1]) }];
    });
    const newest = numbered.sort((a, b) => b.through - a.through)[0];
    if (newest === undefined) return false;
    this.flipBit(newest.path, this.prng.below(newest.bytes.length), this.prng.below(8));
    return true;
  }

  /** What a read has put into memory may be wrong there. */
  misread(into: Uint8Array, start: number, end: number): void {
    const { flipReads } = this.faults;
    if (flipReads === null || end === start || flipReads.after-- > 0) return;
    const at = start + this.prng.below(end - start);
    into[at] = (into[at] as number) ^ (1 << this.prng.below(8));
    this.misreads++;
    if (--flipReads.times === 0) this.faults.flipReads = null;
    else flipReads.after = 0;
  }

  get bootId(): string {
    return `boot-${this.#boots}`;
  }

  /** Carries an operation of the process out after its latency, unless the process's time with the disk is over. */
  schedule(epoch: number, process: SimProcess, latency: LatencyRange, effect: () => void, done: () => void): void {
    this.#kernel.after(this.prng.between(latency.min, latency.max), () => {
      if (epoch !== this.#epoch) return;
      effect();
      process.enter(done);
    });
  }

  find(path: string): SimFile | undefined {
    return this.#entries.get(path);
  }

  list(parent: string): string[] {
    const prefix = `${parent}/`;
    return [...this.#entries.keys()]
      .filter((path) => path.startsWith(prefix) && !path.includes("/", prefix.length))
      .map((path) => path.slice(prefix.length));
  }

  change(apply: (entries: Map<string, SimFile>) => void): void {
    apply(this.#entries);
    this.#changes.push({ apply });
  }

  /** The changes of names that a directory sync which begins now will cover. */
  changesSoFar(): readonly DirectoryChange[] {
    return [...this.#changes];
  }

  settleChanges(changes: readonly DirectoryChange[]): void {
    const settled = new Set(changes);
    for (const change of this.#changes) if (settled.has(change)) change.apply(this.#durableEntries);
    this.#changes = this.#changes.filter((change) => !settled.has(change));
  }

  usedBytes(): number {
    let bytes = 0;
    for (const file of new Set(this.#entries.values())) bytes += file.bytes.length;
    return bytes;
  }
}

/** The disk as one process sees it. */
class SimFileSystem implements FileSystem {
  readonly #disk: SimDisk;
  readonly #process: SimProcess;
  readonly #epoch: number;

  constructor(disk: SimDisk, process: SimProcess, epoch: number) {
    this.#disk = disk;
    this.#process = process;
    this.#epoch = epoch;
  }

  open(
    path: string,
    mode: OpenMode,
    done: (error: Error | null, file: StoredFile | null, bytes: number) => void,
  ): void {
    const disk = this.#disk;
    let file: SimFile | undefined;
    this.operate(
      () => {
        file = disk.find(path);
        if (!mode.startsWith("create")) return;
        const created = new SimFile();
        file = created;
        disk.change((entries) => entries.set(path, created));
      },
      () => {
        if (file === undefined) done(failure("ENOENT", path), null, 0);
        else done(null, new SimStoredFile(disk, this, file, path, mode.endsWith("synced")), file.bytes.length);
      },
    );
  }

  rename(from: string, to: string, done: Done): void {
    const disk = this.#disk;
    let found = false;
    this.operate(
      () => {
        const file = disk.find(from);
        found = file !== undefined;
        if (file === undefined) return;
        disk.change((entries) => {
          entries.delete(from);
          entries.set(to, file);
        });
      },
      () => done(found ? null : failure("ENOENT", from)),
    );
  }

  remove(path: string, done: Done): void {
    const disk = this.#disk;
    let found = false;
    this.operate(
      () => {
        found = disk.find(path) !== undefined;
        if (found) disk.change((entries) => entries.delete(path));
      },
      () => done(found ? null : failure("ENOENT", path)),
    );
  }

  list(parent: string, done: (error: Error | null, names: string[]) => void): void {
    let names: string[] = [];
    this.operate(
      () => {
        names = this.#disk.list(parent);
      },
      () => done(null, names),
    );
  }

  syncDirectory(_directory: string, done: Done): void {
    const covered = this.#disk.changesSoFar();
    this.sync(
      () => this.#disk.settleChanges(covered),
      () => done(null),
    );
  }

  makeDirectory(_directory: string, done: Done): void {
    this.operate(
      () => {},
      () => done(null),
    );
  }

  bootId(): string {
    return this.#disk.bootId;
  }

  operate(effect: () => void, done: () => void): void {
    this.#disk.schedule(this.#epoch, this.#process, this.#disk.operationLatencyMs, effect, done);
  }

  sync(effect: () => void, done: () => void): void {
    this.#disk.schedule(this.#epoch, this.#process, this.#disk.syncLatencyMs, effect, done);
  }
}

class SimStoredFile implements StoredFile {
  readonly #disk: SimDisk;
  readonly #fs: SimFileSystem;
  readonly #file: SimFile;
  readonly #path: string;
  readonly #synced: boolean;

  constructor(disk: SimDisk, fs: SimFileSystem, file: SimFile, path: string, synced: boolean) {
    this.#disk = disk;
    this.#fs = fs;
    this.#file = file;
    this.#path = path;
    this.#synced = synced;
  }

  write(bytes: Uint8Array, start: number, end: number, offset: number, done: Done): void {
    const { faults } = this.#disk;
    let error: Error | null = null;
    let stop = end;
    const growth = Math.max(0, offset + end - start - this.#file.bytes.length);
    const room =
      growth === 0 || faults.capacityBytes === Infinity
        ? Infinity
        : Math.max(0, faults.capacityBytes - this.#disk.usedBytes());
    if (growth > room) {
      stop = Math.max(start, end - (growth - room));
      error = failure("ENOSPC", this.#path);
      this.#disk.refusedForRoom = true;
    } else if (faults.failWrite !== null) {
      stop = start + this.#disk.prng.below(end - start + 1);
      error = failure(faults.failWrite, this.#path);
      faults.failWrite = null;
    }
    if (error === null && this.#disk.misdirect(this.#path, offset, bytes.subarray(start, end))) {
      this.#fs.operate(
        () => {},
        () => (this.#synced ? this.sync(done) : done(null)),
      );
      return;
    }
    // What the file holds from now on is the bytes as they are now; changing them before `done` would be a bug elsewhere.
    const write = this.#file.write(offset, this.#disk.slab.copy(bytes, start, stop));
    this.#fs.operate(
      () => {
        write.landed = true;
      },
      () => {
        if (error === null && this.#synced) this.sync(done);
        else done(error);
      },
    );
  }

  read(
    into: Uint8Array,
    start: number,
    end: number,
    offset: number,
    done: (error: Error | null, count: number) => void,
  ): void {
    let count = 0;
    this.#fs.operate(
      () => {
        const bytes = this.#file.bytes.subarray(offset, offset + end - start);
        into.set(bytes, start);
        count = bytes.length;
        this.#disk.misread(into, start, start + count);
      },
      () => done(null, count),
    );
  }

  sync(done: Done): void {
    const disk = this.#disk;
    const covered = this.#file.landed();
    let error: Error | null = null;
    this.#fs.sync(
      () => {
        if (disk.faults.failSync !== null) {
          error = failure(disk.faults.failSync, this.#path);
          disk.faults.failSync = null;
          disk.refusedSync = true;
          for (const write of covered) write.abandoned = true;
          return;
        }
        disk.syncs++;
        if (!disk.faults.liesAboutSync) this.#file.settle(covered);
      },
      () => done(error),
    );
  }

  close(done: Done): void {
    this.#fs.operate(
      () => {},
      () => done(null),
    );
  }
}

/** What a system call fails with. It has no stack: that costs more than the call, and a replica's start asks for files in vain. */
function failure(code: string, path: string): Error {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return Object.assign(new Error(`${code}, ${path}`), { code });
  } finally {
    Error.stackTraceLimit = limit;
  }
}
