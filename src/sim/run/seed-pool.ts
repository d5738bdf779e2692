import { Worker } from "node:worker_threads";
import { ConfigError } from "../../model/index.js";
import type { SimArguments } from "../scenario/index.js";
import { tuneEngine } from "./engine.js";
import type { SeedResult } from "./run-seed.js";

/** Results that wait for that of an earlier seed, at most. */
const AHEAD_MAX = 64;

/** What a worker thread is started with. */
export interface SeedWorkerData {
  readonly bug: string | null;
  /** The service that is fixed for all seeds; its module is loaded once, if it is one of a user. */
  readonly service: string | undefined;
}

/** What a worker thread says: a result, or why it can't run what it was started for. */
export type FromSeedWorker = SeedResult | { readonly refused: string };

export interface SeedRun {
  /** First and last seed, both inclusive. */
  readonly seeds: readonly [number, number];
  /** Threads that run seeds, each one at a time. */
  readonly jobs: number;
  readonly arguments: Omit<SimArguments, "seed">;
  /** Name of the bug that is planted in every seed, null for none. */
  readonly bug: string | null;
  /** Called for each seed, in their order; false ends the run. */
  readonly onResult: (result: SeedResult) => boolean;
}

/**
 * Runs seeds on worker threads, so that whoever asks for it stays responsive. Results are reported in the order of the seeds,
 * whichever thread is first. Rejects with what a worker could not make a result of (`ConfigError` for bad arguments).
 */
export async function runSeeds(run: SeedRun): Promise<void> {
  tuneEngine();
  const [first, last] = run.seeds;
  const workers: Worker[] = [];
  const results = new Map<number, SeedResult>();
  const workerData: SeedWorkerData = { bug: run.bug, service: run.arguments.service };
  let next = first;
  let reported = first;
  let ended = false;
  try {
    await new Promise<void>((resolve, reject) => {
      const idle: Worker[] = [];
      const feed = (): void => {
        while (!ended && idle.length > 0 && next <= last && next < reported + AHEAD_MAX) {
          idle.pop()?.postMessage({ ...run.arguments, seed: next++ });
        }
      };
      const report = (): void => {
        for (let result = results.get(reported); !ended && result !== undefined; result = results.get(reported)) {
          results.delete(reported++);
          if (!run.onResult(result) || reported > last) ended = true;
        }
        if (ended) resolve();
      };
      for (let i = 0; i < Math.min(run.jobs, last - first + 1); i++) {
        const worker = new Worker(new URL("./seed-worker.js", import.meta.url), { workerData });
        workers.push(worker);
        worker.on("error", reject);
        worker.on("message", (result: FromSeedWorker) => {
          if ("refused" in result) return reject(new ConfigError(result.refused));
          results.set(result.seed, result);
          idle.push(worker);
          report();
          feed();
        });
        idle.push(worker);
      }
      feed();
    });
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
