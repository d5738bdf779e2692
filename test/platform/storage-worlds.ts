/** The worlds in which storage is tested: real files in a temporary directory, memory, a simulated disk. */
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  openFileStorage,
  openMemoryStorage,
  type Scheduler,
  SimDisk,
  type SimDiskOptions,
  SimKernel,
  type SimProcess,
  SystemScheduler,
  type Timer,
  type Turn,
} from "#src/platform/index.js";
import type { Durability } from "#src/model/index.js";
import { clusterId, type StorageWorld } from "./storage.suite.js";

/** The real scheduler of one process that can be killed: from then on nothing of it runs. */
class MortalScheduler implements Scheduler {
  readonly #real = new SystemScheduler();
  readonly clock = this.#real.clock;
  readonly #timers: Timer[] = [];
  alive = true;

  timer(fire: () => void): Timer {
    const timer = this.#real.timer(() => {
      if (this.alive) fire();
    });
    this.#timers.push(timer);
    return timer;
  }

  turn(run: () => void): Turn {
    return this.#real.turn(() => {
      if (this.alive) run();
    });
  }

  kill(): void {
    this.alive = false;
    for (const timer of this.#timers) timer.clear();
  }
}

const small = { segmentBytes: 16 * 1024, sealAfterIdleMs: 50 };

export interface RealWorld extends StorageWorld {
  /** Of the present process. */
  readonly directory: string;
}

/**
 * Real files. The code of a killed process can't be stopped inside this one: what it has under way goes on, and would write
 * into files that its successor reuses, as no dead process can. So the successor gets a copy, taken at the kill.
 */
export function fileWorld(durability: Durability = "fsync"): RealWorld {
  const root = mkdtempSync(join(tmpdir(), "synod-storage-"));
  let processes = 0;
  let directory = join(root, "process-0");
  mkdirSync(directory);
  let scheduler = new MortalScheduler();
  return {
    get directory() {
      return directory;
    },
    open: (options) => openFileStorage({ directory, clusterId, durability, scheduler, ...small, ...options }),
    kill: () => {
      scheduler.kill();
      scheduler = new MortalScheduler();
      const copy = join(root, `process-${++processes}`);
      cpSync(directory, copy, { recursive: true });
      directory = copy;
    },
    wait: (start) => new Promise(start),
    elapse: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    dispose: () => {
      scheduler.kill();
      rmSync(root, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export function memoryWorld(): StorageWorld {
  const world = fileWorld();
  return { ...world, open: () => openMemoryStorage({ scheduler: new SystemScheduler() }) };
}

export interface SimWorld extends StorageWorld {
  readonly kernel: SimKernel;
  readonly disk: SimDisk;
  readonly process: () => SimProcess;
  /** Ends the process and the machine with it. */
  cutPower(): void;
}

export function simWorld(seed: number | string = 1, options: Partial<SimDiskOptions> = {}): SimWorld {
  const kernel = new SimKernel(seed);
  // The other cluster's process opens the same disk under its own id, so the options are read anew at each attachment.
  const diskOptions = { clusterId, durability: "fsync" as Durability, ...small, ...options };
  const disk = new SimDisk(kernel, diskOptions);
  let process = kernel.spawn("replica");
  return {
    kernel,
    disk,
    process: () => process,
    open: (opened) => {
      diskOptions.clusterId = opened?.clusterId ?? clusterId;
      return disk.attach(process);
    },
    kill: () => {
      process.crash();
      disk.crash("process");
      process = kernel.spawn("replica");
    },
    cutPower: () => {
      process.crash();
      disk.crash("power");
      process = kernel.spawn("replica");
    },
    wait: async <T>(start: (resolve: (value: T) => void) => void): Promise<T> => {
      let outcome: { value: T } | undefined;
      start((value) => (outcome = { value }));
      kernel.run(kernel.now + 60_000, () => outcome !== undefined);
      if (outcome === undefined) throw new Error("the simulated world ended before the awaited call");
      return outcome.value;
    },
    elapse: async (ms) => {
      kernel.run(kernel.now + ms);
    },
    dispose: () => {},
  };
}
