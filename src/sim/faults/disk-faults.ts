import type { Prng } from "../../base/index.js";
import { KiB } from "../../base/index.js";
import type { SimMachine, SimWorld } from "../world/index.js";

/** Reads of a replica that starts: any of so many of the first ones may be answered wrongly. */
const MISREADS_AMONG = 12;

const CALM_SYNC_MS = { min: 0.1, max: 0.3 };
const CALM_OPERATION_MS = { min: 0.01, max: 0.05 };

/**
 * What strikes disks. What makes a replica forget, or may, strikes at most as many at once as the fault model allows
 * (`SimWorld.mayForget`). Each method draws from the generator it is given, and says whether there was anything to strike.
 */
export class DiskFaults {
  readonly #world: SimWorld;
  /** Starts a replica that is down, sooner or later. */
  readonly #startLater: (replica: SimMachine) => void;

  constructor(world: SimWorld, startLater: (replica: SimMachine) => void) {
    this.#world = world;
    this.#startLater = startLater;
  }

  /** All disks hold what they are told to, and are fast. */
  heal(): void {
    for (const replica of this.#world.replicas) {
      this.#world.repairDisk(replica);
      speedUp(replica);
    }
  }

  /** Syncs take long, or everything does. */
  slow(prng: Prng, replica: SimMachine): boolean {
    const { disk } = replica;
    disk.syncLatencyMs = { min: 1, max: prng.pick([5, 50, 400]) };
    if (prng.chance(0.3)) disk.operationLatencyMs = { min: 0.1, max: prng.pick([2, 20, 100]) };
    this.#world.kernel.after(prng.between(200, 3000), () => speedUp(replica));
    return true;
  }

  /** A sync or write fails; the replica stops, which the world counts. */
  fail(prng: Prng, replica: SimMachine): boolean {
    if (replica.running) this.#world.failDisk(replica, prng);
    return false;
  }

  /** A bit of the log or of the newest checkpoint of a replica that was stopped flips; counted by the world. */
  damage(prng: Prng, replica: SimMachine): boolean {
    if (!this.#mayStop(replica) || !this.#world.mayForget(replica)) return false;
    this.#world.stop(replica, () => {
      if (this.#world.mayForget(replica)) {
        if (prng.chance(0.3)) this.#world.damageCheckpoint(replica);
        else this.#world.damageLog(replica);
      }
      this.#startLater(replica);
    });
    return false;
  }

  /** Old records of a running replica rot; some time later its process ends, so that it finds out. */
  rot(prng: Prng, replica: SimMachine): boolean {
    if (!replica.running || !this.#world.mayForget(replica)) return false;
    if (!this.#world.rotLog(replica, 1 + prng.below(3))) return false;
    this.#endLater(prng, replica);
    return true;
  }

  misdirect(prng: Prng, replica: SimMachine): boolean {
    if (!replica.running || !this.#world.mayForget(replica)) return false;
    const before = replica.disk.misdirected;
    this.#world.misdirectWrite(replica);
    this.#endLater(prng, replica, () => {
      if (replica.disk.misdirected > before) this.#world.fired("misdirect");
    });
    return false;
  }

  /** A process ends, and one of the first reads of the next one is answered wrongly. */
  misread(prng: Prng, replica: SimMachine): boolean {
    const world = this.#world;
    if (!replica.running || world.forgetsBy("process")) return false;
    world.crash(replica, world.forgetsBy("power") ? "process" : world.crashKind());
    const before = replica.disk.misreads;
    replica.disk.faults.flipReads = { after: prng.below(MISREADS_AMONG), times: 1 };
    this.#startLater(replica);
    world.kernel.after(3500, () => {
      if (replica.disk.misreads > before) world.fired("misread");
      replica.disk.faults.flipReads = null;
    });
    return false;
  }

  /** A disk has little or no room left, and some time later there is room again; the world counts a replica that stops. */
  fill(prng: Prng, replica: SimMachine): boolean {
    if (replica.disk.faults.capacityBytes !== Infinity || this.#world.forgetsBy("process")) return false;
    this.#world.fillDisk(replica, prng.pick([0, 700, 5 * KiB, 40 * KiB]));
    this.#world.kernel.after(prng.between(300, 4000), () => {
      replica.disk.faults.capacityBytes = Infinity;
    });
    return false;
  }

  loseLog(replica: SimMachine): boolean {
    const world = this.#world;
    if (!world.mayForget(replica)) return false;
    world.crash(replica, "process");
    world.loseLog(replica);
    this.#startLater(replica);
    return true;
  }

  damageIdentity(replica: SimMachine): boolean {
    const world = this.#world;
    if (!world.mayForget(replica)) return false;
    world.crash(replica, "process");
    const damaged = world.damageIdentity(replica);
    this.#startLater(replica);
    return damaged;
  }

  #mayStop(replica: SimMachine): boolean {
    return replica.running && !replica.paused && !replica.stopping;
  }

  /** Ends the process that runs now, if it still does then; `then` is called at that time in any case. */
  #endLater(prng: Prng, replica: SimMachine, then: () => void = () => {}): void {
    const world = this.#world;
    const { life } = replica;
    world.kernel.after(prng.between(5, 1500), () => {
      then();
      if (!replica.running || replica.life !== life) return;
      world.crash(replica, world.forgetsBy("power") ? "process" : world.crashKind());
      this.#startLater(replica);
    });
  }
}

function speedUp({ disk }: SimMachine): void {
  disk.syncLatencyMs = CALM_SYNC_MS;
  disk.operationLatencyMs = CALM_OPERATION_MS;
}
