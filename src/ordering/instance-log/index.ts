/**
 * instance-log: what an acceptor has accepted and a learner has learnt, per instance, between the trim point and the newest
 * instance. Shared by the orderings that decide numbered instances. Its batches belong to the group's arena and are
 * released when their instance is trimmed, not when they are replaced, so that a reader never sees reused bytes.
 */
import { assert } from "../../base/index.js";
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
}

export class InstanceLog {
  readonly #entries = new Map<Instance, LogEntry>();
  readonly #replaced: { instance: Instance; batch: Batch }[] = [];
  readonly #arena: BatchArena;
  /** Nothing at or below this instance is here. */
  trimmed: Instance = 0;
  /** Highest instance that was ever put. */
  highest: Instance = 0;

  constructor(arena: BatchArena) {
    this.#arena = arena;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(instance: Instance): LogEntry | undefined {
    return this.#entries.get(instance);
  }

  /** Stores or replaces the value of an instance above the trim point. The log owns the batch from here on. */
  put(instance: Instance, ballot: Ballot, batch: Batch): LogEntry {
    assert(instance > this.trimmed, `instance ${instance} is trimmed (through ${this.trimmed})`);
    if (instance > this.highest) this.highest = instance;
    const entry = this.#entries.get(instance);
    if (entry === undefined) {
      const fresh: LogEntry = { ballot, batch, votes: 0, sentAt: 0 };
      this.#entries.set(instance, fresh);
      return fresh;
    }
    if (entry.batch !== batch) this.#replaced.push({ instance, batch: entry.batch });
    entry.ballot = ballot;
    entry.batch = batch;
    entry.votes = 0;
    entry.sentAt = 0;
    return entry;
  }

  /** Gives up what is held of an instance above the trim point; no reader may have been shown it. */
  forget(instance: Instance): void {
    this.#drop(instance);
  }

  /** Releases everything at or below `through`. */
  trim(through: Instance): void {
    if (through <= this.trimmed) return;
    if (through - this.trimmed <= this.#entries.size) {
      for (let i = this.trimmed + 1; i <= through; i++) this.#drop(i);
    } else {
      for (const instance of this.#entries.keys()) if (instance <= through) this.#drop(instance);
    }
    this.trimmed = through;
    if (this.highest < through) this.highest = through;
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
