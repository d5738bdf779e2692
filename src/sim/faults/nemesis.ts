import { Prng } from "../../base/index.js";
import { majority } from "../../model/index.js";
import type { FaultName, Strike } from "../scenario/index.js";
import { crashPointOf, occasionOf, type SimMachine, type SimWorld } from "../world/index.js";
import { DiskFaults } from "./disk-faults.js";
import { LinkFaults } from "./link-faults.js";

/** A pause lasts as long as one of these, in ms, or up to three times that: from 0.1 to 30 s, short ones and long ones alike. */
const PAUSES_MS = [100, 300, 1000, 3000, 10_000] as const;
const NO_MAJORITY_MS_MAX = 1000;
/** How much a wall clock gains or loses each ms: what oscillators do, what broken ones do, and one that all but stops. */
const DRIFTS = [0, 0.0002, -0.0002, 0.05, -0.05, 1, -0.9] as const;
/** A client stands still for so many times the idle time of its session, and for this many ms at most. */
const EXPIRY_SHARE_MIN = 1.05;
const EXPIRY_SHARE_MAX = 1.6;
const EXPIRY_MS_MAX = 30_000;

/**
 * Strikes a world with the faults of its scenario, each at its own rate or all by an explicit schedule, until it is told to
 * stop; then it mends everything it broke. What it does to replicas is bounded by what the fault model promises to survive (`SimWorld.mayForget`).
 */
export class Nemesis {
  readonly #world: SimWorld;
  readonly #plans: Prng;
  /** That of the present strike: each has its own, so that leaving one out of a schedule changes no other. */
  #prng: Prng;
  #active = false;
  readonly #links: LinkFaults;
  readonly #disks: DiskFaults;
  #absent: SimMachine | null = null;
  /** Every strike so far: as the schedule of a scenario they strike again, without being drawn. */
  readonly struck: Strike[] = [];

  constructor(world: SimWorld) {
    this.#world = world;
    this.#plans = world.kernel.prng.fork("nemesis");
    this.#prng = this.#plans.fork("strikes");
    this.#links = new LinkFaults(world);
    this.#disks = new DiskFaults(world, (replica) => this.#startLater(replica));
    world.onDown = (replica) => this.#startLater(replica);
  }

  start(): void {
    this.#active = true;
    const { schedule, faults } = this.#world.scenario;
    if (schedule === null) for (const [fault, meanMs] of faults) if (meanMs > 0) this.#plan(fault, meanMs);
    for (const strike of schedule ?? []) this.#world.kernel.at(strike.atMs, () => this.#carryOut(strike));
    if (faults.has("clock")) this.#jumpClocks();
    if (faults.has("drift")) this.#driftClocks();
  }

  /** Ends all faults: links heal and behave, disks are fast, and every replica runs. */
  stop(): void {
    const { kernel, replicas, clients, scenario } = this.#world;
    this.#active = false;
    this.#world.note("nemesis", "ends all faults");
    this.#links.heal();
    this.#disks.heal();
    for (const replica of replicas) {
      replica.disarmCrashPoint();
      replica.resume();
      this.#world.networks.forEach((_, thread) => replica.resumeThread(thread));
    }
    for (const client of clients) client.resume();
    if (scenario.faults.has("clock")) this.#jumpClocks();
    for (const { wall } of replicas) wall.run(0);
    const absent = this.#leaveOneDown();
    for (const replica of replicas) {
      if (replica === absent || replica.running) continue;
      kernel.after(this.#prng.between(0, 50), () => this.#startNow(replica));
    }
  }

  /** The cluster is to go on without any one replica: if the scenario says so, that is tried. It is null otherwise. */
  #leaveOneDown(): SimMachine | null {
    const { replicas, scenario } = this.#world;
    if (scenario.groups?.oneDown !== 1 || scenario.faults.size === 0) return null;
    if (replicas.length < 3 || !this.#world.remembersAll) return null;
    const absent = replicas.find((replica) => !replica.running) ?? this.#prng.pick(replicas);
    if (absent.stopping || this.#world.forgetsBy("process")) return null;
    this.#world.crash(absent, "process");
    this.#absent = absent;
    return absent;
  }

  /** Whoever was left down comes back. */
  completeReplicas(): void {
    const absent = this.#absent;
    this.#absent = null;
    if (absent !== null) this.#startNow(absent);
  }

  #plan(fault: FaultName, meanMs: number): void {
    // Whole ms, for those who read the schedule.
    const atMs = Math.ceil(this.#world.kernel.now + meanMs * 2 * this.#plans.float());
    const strike = { atMs, fault, draw: this.#plans.u32() };
    this.#world.kernel.at(atMs, () => {
      this.#carryOut(strike);
      if (this.#active) this.#plan(fault, meanMs);
    });
  }

  #carryOut(strike: Strike): void {
    if (!this.#active) return;
    const { fault, draw } = strike;
    this.struck.push(strike);
    this.#prng = new Prng(draw);
    this.#world.kernel.trace.text(fault);
    this.#world.note("nemesis", fault);
    if (this.#strike(strike)) this.#world.fired(fault);
  }

  /** True if there was something to strike. What strikes later, or perhaps not, is counted by the world when it does. */
  #strike({ fault, draw }: Strike): boolean {
    const world = this.#world;
    const prng = this.#prng;
    const replica = this.#victim();
    switch (fault) {
      case "reset":
        return this.#links.reset(prng);
      case "partition":
        return this.#links.partition(prng);
      case "one-way":
        return this.#links.oneWay(prng, replica);
      case "partial":
        return this.#links.partial(prng, replica);
      case "isolate":
        return this.#links.isolate(prng);
      case "clog":
        return this.#links.clog(prng, replica);
      case "crash":
        return this.#crash(replica);
      case "crash-point":
        return this.#armCrashPoint(replica, draw);
      case "crash-all":
        for (const each of world.replicas) {
          world.crash(each, "power");
          this.#startLater(each);
        }
        return true;
      case "pause":
        return this.#pause(replica);
      case "amnesia":
        return this.#amnesia(replica);
      case "damage":
        return this.#disks.damage(prng, replica);
      case "slow-disk":
        return this.#disks.slow(prng, replica);
      case "disk-error":
        return this.#disks.fail(prng, replica);
      case "bit-rot":
        return this.#disks.rot(prng, replica);
      case "misdirect":
        return this.#disks.misdirect(prng, replica);
      case "misread":
        return this.#disks.misread(prng, replica);
      case "full-disk":
        return this.#disks.fill(prng, replica);
      case "lose-log":
        return this.#disks.loseLog(replica);
      case "damage-identity":
        return this.#disks.damageIdentity(replica);
      case "stop":
        return this.#stop(replica);
      case "transfer": {
        const stream = this.#stream();
        const leader = world.leader(stream);
        return leader !== null && world.operators[stream]?.transferLeadership(leader.id) === true;
      }
      case "thread":
        return this.#pauseThread(replica);
      case "clock":
        return this.#jumpClocks();
      case "drift":
        return this.#driftClocks();
      case "client":
        if (world.clients.length === 0) return false;
        prng.pick(world.clients).restart();
        return true;
      case "expire":
        return this.#standStill();
      case "loss":
      case "delay":
      case "duplicate":
      case "reorder":
        throw new Error(`${fault} holds all the time and does not strike`);
    }
  }

  /** The stream that a strike is about; of one there is nothing to draw. */
  #stream(): number {
    const streams = this.#world.networks.length;
    return streams === 1 ? 0 : this.#prng.below(streams);
  }

  /** Any replica, a leader more often than the others: most of what can go wrong goes wrong around it. */
  #victim(): SimMachine {
    const leader = this.#prng.chance(0.4) ? this.#world.leader(this.#stream()) : null;
    return leader ?? this.#prng.pick(this.#world.replicas);
  }

  #mayGoDown(replica: SimMachine): boolean {
    return !this.#world.forgetsBy("process") || this.#world.mayForget(replica);
  }

  #crash(replica: SimMachine): boolean {
    if (!replica.running || !this.#mayGoDown(replica)) return false;
    const power = this.#prng.chance(0.6) && (!this.#world.forgetsBy("power") || this.#world.mayForget(replica));
    this.#world.crash(replica, power ? "power" : "process");
    this.#startLater(replica);
    return true;
  }

  #pause(replica: SimMachine): boolean {
    if (!replica.running || replica.paused) return false;
    const drawnMs = this.#prng.pick(PAUSES_MS) * this.#prng.between(1, 3);
    // A cluster without a majority does nothing: that is tried too, but not for most of a run.
    const { replicas } = this.#world;
    const awake = replicas.filter((other) => other !== replica && other.running && !other.paused).length;
    const lengthMs = awake >= majority(replicas.length) ? drawnMs : Math.min(drawnMs, NO_MAJORITY_MS_MAX);
    this.#world.note(`r${replica.id}`, `stands still for ${Math.round(lengthMs)} ms`);
    replica.pause();
    this.#world.kernel.after(lengthMs, () => replica.resume());
    return true;
  }

  /** One thread stands still and its replica goes on without it, as far as it gets. */
  #pauseThread(replica: SimMachine): boolean {
    const thread = this.#prng.below(this.#world.networks.length);
    const lengthMs = this.#prng.pick(PAUSES_MS) * this.#prng.between(1, 3);
    if (!replica.running || !replica.pauseThread(thread)) return false;
    const { life } = replica;
    this.#world.note(`r${replica.id}.${thread}`, `stands still for ${Math.round(lengthMs)} ms`);
    this.#world.kernel.after(lengthMs, () => {
      if (replica.life === life) replica.resumeThread(thread);
    });
    return true;
  }

  /** A client stops in the middle of what it does, and when it goes on its session is gone. */
  #standStill(): boolean {
    const { clients, scenario, kernel } = this.#world;
    if (clients.length === 0) return false;
    const client = this.#prng.pick(clients);
    const share = this.#prng.between(EXPIRY_SHARE_MIN, EXPIRY_SHARE_MAX);
    if (!client.pause()) return false;
    const lengthMs = Math.min(scenario.limits.sessionIdleMs * share, EXPIRY_MS_MAX);
    this.#world.note("a client", `stands still for ${Math.round(lengthMs)} ms`);
    kernel.after(lengthMs, () => client.resume());
    return true;
  }

  #amnesia(replica: SimMachine): boolean {
    if (!this.#world.mayForget(replica)) return false;
    this.#world.crash(replica, "process");
    this.#world.wipe(replica);
    this.#startLater(replica);
    return true;
  }

  /** Counted by the world when it dies there. What a start comes by needs a start, and what a lost log does a lost log. */
  #armCrashPoint(replica: SimMachine, draw: number): boolean {
    const world = this.#world;
    if (!replica.running || !this.#mayGoDown(replica)) return false;
    const armed = crashPointOf(draw);
    const occasion = occasionOf(armed.point);
    if (occasion === "loss" && !world.mayForget(replica)) return false;
    replica.armCrashPoint(armed);
    if (occasion === "work") return false;
    world.crash(replica, world.forgetsBy("power") ? "process" : world.crashKind());
    if (occasion === "loss") world.wipe(replica);
    this.#startLater(replica);
    return false;
  }

  #stop(replica: SimMachine): boolean {
    if (!replica.running || replica.paused || replica.stopping || !this.#mayGoDown(replica)) return false;
    this.#world.stop(replica, () => this.#startLater(replica));
    return true;
  }

  #startLater(replica: SimMachine): void {
    const pause = this.#prng.chance(0.5) ? this.#prng.between(0, 100) : this.#prng.between(100, 3000);
    this.#world.kernel.after(this.#active ? pause : 1, () => this.#startNow(replica));
  }

  #startNow(replica: SimMachine): void {
    if (replica.running || (replica === this.#absent && !this.#active)) return;
    this.#world.note(`r${replica.id}`, "starts");
    replica.start();
  }

  #jumpClocks(): boolean {
    for (const { wall } of this.#world.replicas) {
      const minutes = this.#prng.pick([0, 0, 0.01, -0.01, 1, -1, 60, -60]);
      wall.jump(minutes * 60_000);
    }
    return true;
  }

  #driftClocks(): boolean {
    for (const { wall } of this.#world.replicas) wall.run(this.#prng.pick(DRIFTS));
    return true;
  }
}
