// Hot file as far as `executed` goes: called once an instance. Everything else is done once a comparison.
import { assert } from "../../base/index.js";
import { type Digest, FrameKind, type Instance, majority, type ReplicaId } from "../../model/index.js";
import type { EventLog, FramePort } from "../../platform/index.js";
import { digestHex } from "./checkpointing.js";

/** Positions at which digests of others wait to be compared; beyond it the lowest position goes, its comparison is left out. */
const ROUNDS_MAX = 64;
/** Positions at which this replica has been asked for its digest and which it has not reached; more are not noted. */
const ASKED_MAX = 8;
/** A coordinator asks again so often, while not all have answered, before it leaves a position at that. */
const ASKED_AGAIN_MAX = 20;
const HEADER_BYTES = 8;
const SAID_BYTES = 32;
/** Digests that are said in one frame; so many are sent without waiting for `flush`. */
const SAID_MAX = 16;
const ASKS = 1;
/**
 * What a digest is made of. Raised whenever a version of this program computes another digest from the same commands: during a
 * rolling upgrade digests of different formats say nothing about each other.
 */
const DIGEST_FORMAT = 2;

/** Where a replica's state was found to differ, as far as comparisons tell. */
export interface Divergence {
  readonly replicas: readonly ReplicaId[];
  /** The last position at which they were seen to be equal; 0 if there was none since this process began. */
  readonly equalThrough: Instance;
  readonly differsAt: Instance;
  /** Ordered commands executed in the life of the cluster at these two positions: the culprit is among those between. */
  readonly commandsEqual: number;
  readonly commandsDiffer: number;
}

export interface StateComparisonInit {
  readonly self: ReplicaId;
  readonly replicas: readonly ReplicaId[];
  readonly peers: FramePort;
  readonly events: EventLog;
  /** Ordered commands between two positions that every replica picks by itself. */
  readonly everyCommands: number;
  /** Digest of the state as it is now. */
  digest(into: Digest): void;
  /** This replica differs from a majority whose states are equal. Called once. */
  diverged(divergence: Divergence): void;
}

interface Round {
  readonly ordered: number;
  readonly digests: Map<ReplicaId, string>;
}

/**
 * Compares the digests of the replicas' states. Two digests are compared only if both are of the state directly behind one
 * and the same instance. What is decided there is decided once, so equal services have equal digests there, and a
 * difference is never an alarm about replicas that stand at different places.
 *
 * Every replica says its digest to all others at positions that all find by themselves, where the number of ordered
 * commands passes a multiple of `everyCommands`; it is part of the state, so they find the same ones, after a restart or a
 * state transfer too. Under load that is behind each instance, so that digests wait for a full frame or for `flush`. Where commands are few, the coordinator asks (`ask`): for the digest behind the last instance it
 * has executed, which the others say when they get there.
 *
 * A replica that differs from a majority is wrong whatever the others are, and stops. Replicas that differ without a
 * majority for any state all say so and go on: none of them can know that it is the right one.
 *
 * Body of the frame: `u16` format of digests, `u16` 1 if the sender wants to hear the receiver's digest at the last instance,
 * else 0, `u32` number of digests, 1 to 16; each `f64 instance`, `f64 ordered commands`, four u32 digest. Frames of another
 * format are passed over.
 */
export class StateComparison {
  readonly #init: StateComparisonInit;
  readonly #rounds = new Map<Instance, Round>();
  readonly #asked: Instance[] = [];
  readonly #digest: Digest = new Uint32Array(4);
  // Digests of this replica that the others have not been told: instance and ordered commands, and the digests.
  readonly #saidAt = new Float64Array(2 * SAID_MAX);
  readonly #said = new Uint32Array(4 * SAID_MAX);
  #saidCount = 0;
  /** Number of the interval of `everyCommands` commands that the state is in. */
  #interval = 0;
  #askedThrough: Instance = 0;
  #askedAgain = 0;
  /** Where each replica was last seen to have the state of this one. */
  readonly #equal = new Map<ReplicaId, { readonly instance: Instance; readonly ordered: number }>();
  #ended = false;
  #differing: readonly ReplicaId[] = [];
  /** A majority stands against those that differ. */
  #judged = false;
  #differedAt: Instance = 0;

  constructor(init: StateComparisonInit) {
    assert(init.everyCommands >= 1, "digests are compared every so many commands");
    this.#init = init;
  }

  /** Other replicas that were found to differ from a majority, or from this one where there is none. */
  get differing(): readonly ReplicaId[] {
    return this.#differing;
  }

  /** The state was replaced, or is the first: it is that behind `instance`, after so many ordered commands. */
  begin(instance: Instance, ordered: number): void {
    this.#interval = Math.floor(ordered / this.#init.everyCommands);
    this.#saidCount = 0;
    // What this replica has said was of another state; what others have said remains true of theirs.
    for (const round of this.#rounds.values()) round.digests.delete(this.#init.self);
    if (this.#asked.includes(instance)) this.#answer(instance, ordered, 0);
    this.#dropAsked(instance);
  }

  /** The state is directly behind `instance`. */
  executed(instance: Instance, ordered: number): void {
    const interval = Math.floor(ordered / this.#init.everyCommands);
    if (interval !== this.#interval) {
      this.#interval = interval;
      this.#say(instance, ordered);
      if (this.#saidCount === SAID_MAX) this.flush();
    }
    if (this.#asked.length > 0 && this.#asked.includes(instance)) this.#answer(instance, ordered, 0);
    if (this.#asked.length > 0) this.#dropAsked(instance);
  }

  /** A digest that the state had directly behind `instance`, taken at a place that all replicas take theirs at. */
  taken(instance: Instance, digest: Digest): void {
    if (this.#saidCount === SAID_MAX) this.flush();
    this.#note(this.#init.self, instance, 0, this.#hold(instance, 0, digest));
  }

  /**
   * Asks the others for their digests at the position of this replica; again and again for a while, until all have answered
   * there. For the coordinator, a few times a second.
   */
  ask(executed: Instance, ordered: number): void {
    if (this.#ended) return;
    if (executed > this.#askedThrough) this.#askedAgain = 0;
    else if (executed < this.#askedThrough || ++this.#askedAgain > ASKED_AGAIN_MAX) return;
    // A round at which all are equal is over and forgotten.
    else if ((this.#rounds.get(executed)?.digests.size ?? Infinity) >= this.#init.replicas.length) return;
    this.#askedThrough = executed;
    this.#answer(executed, ordered, ASKS);
  }

  /** Tells the others the digests that they have not been told. A few times a second. */
  flush(): void {
    this.#send(0);
  }

  /** Another replica has come: it is to be compared although nothing may have executed since the last time. */
  onPeer(): void {
    this.#askedThrough = 0;
  }

  /** False for a malformed frame. `executed` and `ordered` say where this replica's state is. */
  onFrame(from: ReplicaId, view: DataView, start: number, end: number, executed: Instance, ordered: number): boolean {
    if (end - start < HEADER_BYTES) return false;
    if (view.getUint16(start, true) !== DIGEST_FORMAT) return true;
    const asks = view.getUint16(start + 2, true);
    const count = view.getUint32(start + 4, true);
    if (asks > ASKS || count < 1 || count > SAID_MAX || end - start !== HEADER_BYTES + count * SAID_BYTES) return false;
    let last = 0;
    for (let at = start + HEADER_BYTES; at < end; at += SAID_BYTES) {
      last = view.getFloat64(at, true);
      const theirs = view.getFloat64(at + 8, true);
      if (!Number.isSafeInteger(last) || last < 0 || !(theirs >= 0)) return false;
      for (let i = 0; i < 4; i++) this.#digest[i] = view.getUint32(at + 16 + 4 * i, true);
      this.#note(from, last, theirs, digestHex(this.#digest));
    }
    if (asks === 0) return true;
    if (last === executed) this.#answer(last, ordered, 0);
    else if (last > executed && this.#asked.length < ASKED_MAX) this.#asked.push(last);
    return true;
  }

  /** Takes the digest of the state, which is behind `instance`, to be told to the others. */
  #say(instance: Instance, ordered: number): void {
    if (this.#ended) return;
    this.#init.digest(this.#digest);
    this.#note(this.#init.self, instance, ordered, this.#hold(instance, ordered, this.#digest));
  }

  /** Keeps a digest to be told to the others; in hexadecimal. */
  #hold(instance: Instance, ordered: number, digest: Digest): string {
    this.#saidAt[2 * this.#saidCount] = instance;
    this.#saidAt[2 * this.#saidCount + 1] = ordered;
    this.#said.set(digest, 4 * this.#saidCount);
    this.#saidCount++;
    return digestHex(digest);
  }

  /** Tells the others the digest of the state at once. */
  #answer(instance: Instance, ordered: number, asks: number): void {
    if (this.#saidCount === SAID_MAX || this.#saidAt[2 * this.#saidCount - 2] !== instance) {
      if (this.#saidCount === SAID_MAX) this.flush();
      this.#say(instance, ordered);
    }
    this.#send(asks);
  }

  #send(asks: number): void {
    const { self, replicas, peers } = this.#init;
    const count = this.#saidCount;
    this.#saidCount = 0;
    if (count === 0 || this.#ended) return;
    for (const id of replicas) {
      if (id === self) continue;
      const body = peers.begin(id, FrameKind.stateDigest);
      if (body === null) continue;
      body.u16(DIGEST_FORMAT);
      body.u16(asks);
      body.u32(count);
      for (let i = 0; i < count; i++) {
        body.f64(this.#saidAt[2 * i] as number);
        body.f64(this.#saidAt[2 * i + 1] as number);
        for (let lane = 0; lane < 4; lane++) body.u32(this.#said[4 * i + lane] as number);
      }
      peers.end();
    }
  }

  #note(from: ReplicaId, instance: Instance, ordered: number, digest: string): void {
    if (this.#ended) return;
    let round = this.#rounds.get(instance);
    if (round === undefined) {
      round = { ordered, digests: new Map() };
      this.#rounds.set(instance, round);
      if (this.#rounds.size > ROUNDS_MAX) this.#rounds.delete(Math.min(...this.#rounds.keys()));
    }
    round.digests.set(from, digest);
    // Nothing is known of this replica there: whether the others agree is theirs to find out.
    if (round.digests.has(this.#init.self)) this.#judge(instance, round);
  }

  #judge(instance: Instance, { ordered, digests }: Round): void {
    const { self, replicas } = this.#init;
    const own = digests.get(self) as string;
    const holders = new Map<string, ReplicaId[]>();
    for (const [id, digest] of digests) {
      holders.set(digest, [...(holders.get(digest) ?? []), id]);
      if (digest === own) this.#noteEqual(id, instance, ordered);
    }
    if (holders.size === 1) {
      if (digests.size < replicas.length) return;
      this.#rounds.delete(instance);
      if (this.#differing.length > 0 && instance > this.#differedAt) {
        this.#init.events.info("states-equal", { instance });
        this.#differing = [];
      }
      return;
    }
    const right = [...holders.values()].find((ids) => ids.length >= majority(replicas.length));
    if (right !== undefined && !right.includes(self)) {
      this.flush();
      this.#ended = true;
      this.#init.diverged(this.#divergence([self], right, instance, ordered));
      return;
    }
    const others = [...digests.keys()].filter((id) => digests.get(id) !== own).toSorted((one, other) => one - other);
    const judged = right !== undefined;
    this.#differedAt = Math.max(this.#differedAt, instance);
    // Whom a majority has found to differ is known; that it differs is no news, and neither is that others are not heard yet.
    const known = others.every((id) => this.#differing.includes(id));
    if (known && (this.#judged || !judged)) return;
    this.#differing = others;
    this.#judged = judged;
    const divergence = this.#divergence(others, others, instance, ordered);
    if (judged) this.#init.events.error("replica-diverged", { ...divergence });
    else this.#init.events.error("states-differ", { ...divergence });
  }

  #noteEqual(id: ReplicaId, instance: Instance, ordered: number): void {
    const known = this.#equal.get(id);
    if (known === undefined || known.instance < instance) this.#equal.set(id, { instance, ordered });
  }

  /** `against`: the replicas with which this one was equal where it and they are known to have been right. */
  #divergence(
    replicas: readonly ReplicaId[],
    against: readonly ReplicaId[],
    differsAt: Instance,
    commandsDiffer: number,
  ): Divergence {
    let equalThrough = 0;
    let commandsEqual = 0;
    for (const id of against) {
      const equal = this.#equal.get(id);
      if (equal === undefined || equal.instance <= equalThrough || equal.instance >= differsAt) continue;
      equalThrough = equal.instance;
      commandsEqual = equal.ordered;
    }
    return { replicas, equalThrough, differsAt, commandsEqual, commandsDiffer };
  }

  #dropAsked(through: Instance): void {
    let kept = 0;
    for (const instance of this.#asked) if (instance > through) this.#asked[kept++] = instance;
    this.#asked.length = kept;
  }
}
