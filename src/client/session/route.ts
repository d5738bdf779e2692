import { assert } from "../../base/index.js";
import type { ReplicaId } from "../../model/index.js";

/**
 * Where a client sends. `target` is the replica that gets what is sent, 0 while no link is up. While the target is the
 * believed leader it gets everything; otherwise it is *probed* with the oldest block alone, and what it answers tells
 * who leads.
 *
 * Each epoch is one attempt to bring a target up to date: within it no block is sent twice, except when the service asks.
 */
export class Route {
  readonly #replicas: readonly ReplicaId[];
  readonly #up = new Set<ReplicaId>();
  /** The replica believed to lead, linked or not; 0 if none is known. */
  leader: ReplicaId = 0;
  target: ReplicaId = 0;
  epoch = 1;
  /** When the target was last heard, or became the target. */
  quietSince = -Infinity;
  /** A leader that did not answer. Until the time given it is not believed to lead, unless it says something itself. */
  #suspect: ReplicaId = 0;
  #suspectUntil = -Infinity;
  /** Who to probe next, if linked then. Only every other probe follows a hint, or two that hint at each other would hide the third. */
  #hint: ReplicaId = 0;
  #hinted = false;
  /** Index of the replica that was probed last without a hint. */
  #cursor = -1;

  constructor(replicas: readonly ReplicaId[], first: number) {
    assert(replicas.length > 0, "a client needs the ids of the replicas");
    const turn = first % replicas.length;
    this.#replicas = [...replicas.slice(turn), ...replicas.slice(0, turn)];
  }

  /** There is a target and it is believed to lead. */
  get settled(): boolean {
    return this.target !== 0 && this.target === this.leader;
  }

  isUp(replica: ReplicaId): boolean {
    return this.#up.has(replica);
  }

  /** All replicas that are linked. */
  get linked(): ReadonlySet<ReplicaId> {
    return this.#up;
  }

  knows(replica: ReplicaId): boolean {
    return this.#replicas.includes(replica);
  }

  /** True if the link matters: what was sent to this replica before may be lost. */
  linkUp(replica: ReplicaId, now: number): boolean {
    this.#up.add(replica);
    if (replica === this.#suspect) this.#suspect = 0;
    const matters = replica === this.leader || replica === this.target || this.target === 0;
    if (matters) this.aim(replica, now);
    return matters;
  }

  /** True if the target was lost. */
  linkDown(replica: ReplicaId, now: number): boolean {
    this.#up.delete(replica);
    if (replica === this.leader) this.leader = 0;
    if (replica !== this.target) return false;
    this.advance(now);
    return true;
  }

  /** Starts an epoch at a replica. */
  aim(replica: ReplicaId, now: number): void {
    this.target = replica;
    this.epoch++;
    this.quietSince = now;
  }

  /** Believes that `replica` leads and aims at it if it is linked and not the target already. */
  follow(replica: ReplicaId, now: number): void {
    this.leader = replica;
    if (replica !== this.target && this.isUp(replica)) this.aim(replica, now);
  }

  /** The target is silent: believes no more that it leads, for `ms`, and aims at the next one. */
  suspect(now: number, ms: number): void {
    this.#suspect = this.target;
    this.#suspectUntil = now + ms;
    if (this.leader === this.target) this.leader = 0;
    this.advance(now);
  }

  /** True of a replica whose lead is not to be believed when others tell of it. */
  isSuspect(replica: ReplicaId, now: number): boolean {
    return replica === this.#suspect && now < this.#suspectUntil;
  }

  trust(replica: ReplicaId): void {
    if (replica === this.#suspect) this.#suspect = 0;
  }

  /** Aims the next probe at this replica. */
  hint(replica: ReplicaId): void {
    this.#hint = replica;
  }

  /** Aims at the hinted replica, or at the next one linked; a suspect is probed in its turn, which shows when it is back. */
  advance(now: number): void {
    const hint = this.#hint;
    this.#hint = 0;
    this.#hinted = hint !== 0 && this.isUp(hint) && !this.#hinted;
    if (this.#hinted) return this.aim(hint, now);
    const count = this.#replicas.length;
    for (let i = 1; i <= count; i++) {
      const index = (this.#cursor + i) % count;
      const replica = this.#replicas[index] as ReplicaId;
      if (!this.isUp(replica) || (replica === this.target && this.#up.size > 1)) continue;
      this.#cursor = index;
      return this.aim(replica, now);
    }
    this.aim(0, now);
  }
}
