import { Worker } from "node:worker_threads";
import type { SimArguments } from "../scenario/index.js";
import type { Shrunk } from "./shrink-seed.js";

export interface ShrinkRequest {
  readonly wanted: SimArguments;
  /** Name of the bug that is planted, null for none. */
  readonly bug: string | null;
  /** Worlds that may be run. */
  readonly runsMax: number;
}

/** `shrinkSeed` on a thread of its own, so that whoever asks for it stays responsive. Rejects with what went wrong there. */
export async function shrinkOnThread(request: ShrinkRequest, onRun: (runs: number) => void): Promise<Shrunk | null> {
  const worker = new Worker(new URL("./shrink-worker.js", import.meta.url), { workerData: request });
  try {
    return await new Promise<Shrunk | null>((resolve, reject) => {
      worker.on("error", reject);
      worker.on("message", (message: { readonly runs?: number; readonly shrunk?: Shrunk | null }) => {
        if (message.runs !== undefined) onRun(message.runs);
        else resolve(message.shrunk ?? null);
      });
    });
  } finally {
    await worker.terminate();
  }
}
