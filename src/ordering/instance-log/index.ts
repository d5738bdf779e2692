/**
 * instance-log: what an acceptor has accepted and a learner has learnt, per instance, between the trim point and the newest
 * instance. Shared by the orderings that decide numbered instances. Its batches belong to the group's arena and are
 * released when their instance is trimmed or evicted, not when they are replaced, so that a reader never sees reused bytes.
 *
 * Evicted instances are those whose values are left to the disk: decided, executed and durable here, so that nobody asks for
 * them but a peer that is behind. They count as part of the log, in instances and in bytes, until they are trimmed.
 */
import { assert, KiB } from "../../base/index.js";
import type { Ballot, Batch, BatchArena, Instance } from "../../model/index.js";

/** Ballot of a value that is known to be chosen, whatever ballot chose it: above every real ballot. */
export const CHOSEN_BALLOT: Ballot = 2 ** 52;

export interface LogEntry {
  /** Ballot at which `batch` was accepted; `CHOSEN_BALLOT` once it was learnt as chosen. */
  ballot: Ballot;
  batch: Batch;
  /** Bit (id - 1) set: that replica's vote for `ballot` has been counted. Used by the coordinator alone. */
  votes: number;
  /** Time the coordinator last sent it out, for retransmission. */
  sentAt: number;
  /** The entry is durable once the record with this token is; 0 if it was read from disk. */
  token: number;
}

/**
 * Evicted instances are accounted for in steps of at most so many bytes, or of one instance. A step that is trimmed in part
 * still counts as a whole, so that it must be small beside any bound of the log's bytes, however small a log is allowed to be.
 */
const STEP_BYTES = 16 * KiB;

/** Instances that are dropped at once, so that nothing waits for longer than a millisecond or two; the others follow. */
const DROPPED_AT_ONCE = 8192;

/** Consecutive evicted instances up to `through`, and what their batches took. */
interface Step {
  through: Instance;
  bytes: number;
}

export class InstanceLog {
  readonly #entries = new Map<Instance, LogEntry>();
  readonly #replaced: { instance: Instance; batch: Batch }[] = [];
  readonly #arena: BatchArena;
  /** The evicted ones above the trim point, ascending. */
  readonly #steps: Step[] = [];
  /** Nothing at or below this instance is here, whatever `sweep` has still to give back. */
  trimmed: Instance = 0;
  /** Of nothing at or below this instance an entry is in memory: trimmed and swept, or evicted. */
  #dropped: Instance = 0;
  /** Everything above the trim point and at or below this instance is on disk alone. */
  evicted: Instance = 0;
  /** Bytes of the batches that are on disk alone, to within a step. */
  evictedBytes = 0;
  /** Highest instance that was ever put. */
  highest: Instance = 0;

  constructor(arena: BatchArena) {
    this.#arena = arena;
  }

  /** Instances that are here, in memory or on disk alone. */
  get size(): number {
    return this.#entries.size + Math.max(0, this.evicted - this.trimmed);
  }

  get(instance: Instance): LogEntry | undefined {
    return instance > this.trimmed ? this.#entries.get(instance) : undefined;
  }

  /** Stores or replaces the value of an instance above the trim point. The log owns the batch from here on. */
  put(instance: Instance, ballot: Ballot, batch: Batch): LogEntry {
    assert(instance > this.trimmed, `instance ${instance} is trimmed (through ${this.trimmed})`);
    if (instance > this.highest) this.highest = instance;
    const entry = this.#entries.get(instance);
    if (entry === undefined) {
      const fresh: LogEntry = { ballot, batch, votes: 0, sentAt: 0, token: 0 };
      this.#entries.set(instance, fresh);
      return fresh;
    }
    if (entry.batch !== batch) this.#replaced.push({ instance, batch: entry.batch });
    entry.ballot = ballot;
    entry.batch = batch;
    entry.votes = 0;
    entry.sentAt = 0;
    entry.token = 0;
    return entry;
  }

  /** The instance whose value may be evicted next, 0 while `sweep` has work left. */
  get evictable(): Instance {
    return this.#dropped >= this.trimmed ? this.#dropped + 1 : 0;
  }

  /** Leaves the value of the instance that is evictable to the disk: nobody reads it here any more. */
  evict(instance: Instance): void {
    assert(
      instance > this.trimmed && instance === this.#dropped + 1,
      `instance ${instance} is not the next to be evicted`,
    );
    const batch = this.#entries.get(instance)?.batch;
    const bytes = batch === undefined ? 0 : batch.end - batch.start;
    this.#drop(instance);
    this.evicted = instance;
    this.#dropped = instance;
    this.evictedBytes += bytes;
    const last = this.#steps[this.#steps.length - 1];
    if (last === undefined || last.bytes + bytes > STEP_BYTES) this.#steps.push({ through: instance, bytes });
    else {
      last.through = instance;
      last.bytes += bytes;
    }
    if (this.#replaced.length > 0) this.#releaseReplaced(instance);
  }

  /** How far the evicted instances from `from` on may be read back for about `bytesMax` bytes: one step at least. */
  recallThrough(from: Instance, bytesMax: number): Instance {
    let through = from;
    let bytes = 0;
    for (const step of this.#steps) {
      if (step.through < from) continue;
      bytes += step.bytes;
      if (bytes > bytesMax && through > from) break;
      through = step.through;
      if (bytes > bytesMax) break;
    }
    return through;
  }

  /** Gives up what is held of an instance above the trim point; no reader may have been shown it. */
  forget(instance: Instance): void {
    this.#drop(instance);
  }

  /** Gives up everything at or below `through`. Of many instances the memory is released bit by bit, by `sweep`. */
  trim(through: Instance): void {
    if (through <= this.trimmed) return;
    this.trimmed = through;
    if (this.highest < through) this.highest = through;
    let past = 0;
    for (const step of this.#steps) {
      if (step.through > through) break;
      this.evictedBytes -= step.bytes;
      past++;
    }
    this.#steps.splice(0, past);
    this.sweep();
  }

  /** Releases more of what is trimmed: a bounded number of instances, unless the trim point went far beyond all there are. */
  sweep(): void {
    const first = this.#dropped + 1;
    if (first > this.trimmed) return;
    let through = Math.min(this.trimmed, first + DROPPED_AT_ONCE - 1);
    if (this.trimmed - first > 2 * this.#entries.size) {
      through = this.trimmed;
      for (const instance of this.#entries.keys()) if (instance <= through) this.#drop(instance);
    } else {
      for (let i = first; i <= through; i++) this.#drop(i);
    }
    this.#dropped = through;
    if (this.#replaced.length > 0) this.#releaseReplaced(through);
  }

  #releaseReplaced(through: Instance): void {
    let kept = 0;
    for (const old of this.#replaced) {
      if (old.instance <= through) this.#arena.release(old.batch);
      else this.#replaced[kept++] = old;
    }
    this.#replaced.length = kept;
  }

  #drop(instance: Instance): void {
    const entry = this.#entries.get(instance);
    if (entry === undefined) return;
    this.#entries.delete(instance);
    this.#arena.release(entry.batch);
  }
}
