import { Prng } from "../../base/index.js";
import { SIM_LINK_DEFAULTS } from "../../platform/index.js";
import type { FaultName, Strike } from "../scenario/index.js";
import type { SimReplica, SimWorld } from "../world/index.js";

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
  /** How often each fault struck. */
  readonly strikes = new Map<FaultName, number>();
  /** Every strike so far: as the schedule of a scenario they strike again, without being drawn. */
  readonly struck: Strike[] = [];

  constructor(world: SimWorld) {
    this.#world = world;
    this.#plans = world.kernel.prng.fork("nemesis");
    this.#prng = this.#plans.fork("strikes");
    world.onDown = (replica) => this.#startLater(replica);
  }

  start(): void {
    this.#active = true;
    const { schedule, faults } = this.#world.scenario;
    if (schedule === null) for (const [fault, meanMs] of faults) if (meanMs > 0) this.#plan(fault, meanMs);
    for (const strike of schedule ?? []) this.#world.kernel.at(strike.atMs, () => this.#carryOut(strike));
    if (this.#world.scenario.faults.has("clock")) this.#jumpClocks();
  }

  /** Ends all faults: links heal and behave, disks are fast, and every replica runs. */
  stop(): void {
    const { kernel, network, replicas, config, scenario } = this.#world;
    this.#active = false;
    this.#world.note("nemesis", "ends all faults");
    network.heal();
    // Calm is what real connections are: streams that keep their order.
    const hosts = [...config.replicas.map(({ id }) => `r${id}`), ...this.#clientHosts()];
    for (const from of hosts) for (const to of hosts) if (from !== to) network.setLink(from, to, SIM_LINK_DEFAULTS);
    for (const replica of replicas) {
      replica.disarmCrashPoint();
      replica.resume();
      this.#world.repairDisk(replica);
      this.#speedUp(replica);
    }
    if (scenario.faults.has("clock")) this.#jumpClocks();
    for (const replica of replicas) {
      if (!replica.running) kernel.after(this.#prng.between(0, 50), () => this.#startNow(replica));
    }
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
    this.strikes.set(fault, (this.strikes.get(fault) ?? 0) + 1);
    this.#world.kernel.trace.text(fault);
    this.#world.note("nemesis", fault);
    this.#strike(fault);
  }

  #strike(fault: FaultName): void {
    const world = this.#world;
    const prng = this.#prng;
    const replica = this.#victim();
    switch (fault) {
      case "reset":
        return this.#reset();
      case "partition":
        return this.#partition();
      case "isolate":
        return this.#isolate();
      case "crash":
        return this.#crash(replica);
      case "crash-point":
        if (replica.running && this.#mayGoDown(replica)) replica.armCrashPoint();
        return;
      case "crash-all":
        for (const each of world.replicas) {
          world.crash(each, "power");
          this.#startLater(each);
        }
        return;
      case "pause":
        if (replica.running && !replica.paused) {
          replica.pause();
          world.kernel.after(prng.between(20, 2500), () => replica.resume());
        }
        return;
      case "amnesia":
        return this.#amnesia(replica);
      case "damage":
        return this.#damage(replica);
      case "slow-disk":
        replica.disk.syncLatencyMs = { min: 1, max: prng.pick([5, 50, 400]) };
        world.kernel.after(prng.between(200, 3000), () => this.#speedUp(replica));
        return;
      case "disk-error":
        if (replica.running) world.failDisk(replica, prng);
        return;
      case "stop":
        return this.#stop(replica);
      case "transfer": {
        const leader = world.leader();
        if (leader !== null) world.operator.transferLeadership(leader.id);
        return;
      }
      case "clock":
        return this.#jumpClocks();
      case "client":
        if (world.clients.length > 0) prng.pick(world.clients).restart();
        return;
      default:
        return;
    }
  }

  /** Any replica, the leader more often than the others: most of what can go wrong goes wrong around it. */
  #victim(): SimReplica {
    const leader = this.#prng.chance(0.4) ? this.#world.leader() : null;
    return leader ?? this.#prng.pick(this.#world.replicas);
  }

  #mayGoDown(replica: SimReplica): boolean {
    return !this.#world.forgetsBy("process") || this.#world.mayForget(replica);
  }

  #crash(replica: SimReplica): void {
    if (!replica.running || !this.#mayGoDown(replica)) return;
    const power = this.#prng.chance(0.6) && (!this.#world.forgetsBy("power") || this.#world.mayForget(replica));
    this.#world.crash(replica, power ? "power" : "process");
    this.#startLater(replica);
  }

  #amnesia(replica: SimReplica): void {
    if (!this.#world.mayForget(replica)) return;
    this.#world.crash(replica, "process");
    this.#world.wipe(replica);
    this.#startLater(replica);
  }

  #damage(replica: SimReplica): void {
    if (!replica.running || replica.paused || replica.stopping || !this.#world.mayForget(replica)) return;
    this.#world.stop(replica, () => {
      if (this.#world.mayForget(replica)) {
        if (this.#prng.chance(0.3)) this.#world.damageCheckpoint(replica);
        else this.#world.damageLog(replica);
      }
      this.#startLater(replica);
    });
  }

  #stop(replica: SimReplica): void {
    if (!replica.running || replica.paused || replica.stopping || !this.#mayGoDown(replica)) return;
    this.#world.stop(replica, () => this.#startLater(replica));
  }

  #startLater(replica: SimReplica): void {
    const pause = this.#prng.chance(0.5) ? this.#prng.between(0, 100) : this.#prng.between(100, 3000);
    this.#world.kernel.after(this.#active ? pause : 1, () => this.#startNow(replica));
  }

  #startNow(replica: SimReplica): void {
    if (replica.running) return;
    this.#world.note(`r${replica.id}`, "starts");
    replica.start();
  }

  #speedUp(replica: SimReplica): void {
    replica.disk.syncLatencyMs = { min: 0.1, max: 0.3 };
  }

  #clientHosts(): string[] {
    return Array.from({ length: this.#world.scenario.workload.clients }, (_, index) => `c${index + 1}`);
  }

  #reset(): void {
    const { network, replicas } = this.#world;
    const a = this.#prng.pick(replicas);
    const others = [...replicas.filter((other) => other !== a).map(({ id }) => `r${id}`), ...this.#clientHosts()];
    network.reset(`r${a.id}`, this.#prng.pick(others));
  }

  /**
   * Cuts between two groups of replicas, in both directions or one, for a while; clients may be on one side only. Or between
   * two replicas alone, which a third still reaches both of.
   */
  #partition(): void {
    const { replicas } = this.#world;
    const prng = this.#prng;
    if (prng.chance(0.3)) {
      const a = `r${this.#victim().id}`;
      const b = `r${prng.pick(replicas).id}`;
      this.#cut(
        a === b
          ? []
          : prng.pick([
              [[a, b]],
              [[b, a]],
              [
                [a, b],
                [b, a],
              ],
            ]),
      );
      return;
    }
    const sides = new Map(replicas.map(({ id }) => [`r${id}`, prng.chance(0.5)]));
    if (prng.chance(0.5)) for (const client of this.#clientHosts()) sides.set(client, prng.chance(0.5));
    const direction = prng.below(3);
    const cuts: [string, string][] = [];
    for (const [a, left] of sides) {
      for (const [b, right] of sides) {
        if (left === right || (left && direction === 1) || (right && direction === 2)) continue;
        cuts.push([a, b]);
      }
    }
    this.#cut(cuts);
  }

  #isolate(): void {
    const leader = this.#world.leader();
    if (leader === null) return;
    const name = `r${leader.id}`;
    const direction = this.#prng.below(3);
    const cuts: [string, string][] = [];
    for (const { id } of this.#world.replicas) {
      if (id === leader.id) continue;
      if (direction !== 1) cuts.push([name, `r${id}`]);
      if (direction !== 2) cuts.push([`r${id}`, name]);
    }
    this.#cut(cuts);
  }

  #cut(cuts: readonly (readonly [string, string])[]): void {
    const { network, kernel } = this.#world;
    for (const [from, to] of cuts) network.cut(from, to);
    kernel.after(this.#prng.between(50, 3000), () => {
      for (const [from, to] of cuts) network.healLink(from, to);
    });
  }

  #jumpClocks(): void {
    for (const replica of this.#world.replicas) {
      const minutes = this.#prng.pick([0, 0, 0.01, -0.01, 1, -1, 60, -60]);
      replica.setWallSkew(minutes * 60_000);
    }
  }
}
