/** The other end of the bells in `thread-bells.test.ts`: what it does at each ring is the test's choice. */
import { parentPort, workerData } from "node:worker_threads";
import { type BellsPart, ThreadBells } from "#src/runtime/index.js";

export interface BellsThreadData {
  readonly part: BellsPart;
  /** 0: how often rung; 1: what the ringers have written last; 2: released when 1. */
  readonly words: SharedArrayBuffer;
  readonly does: "count" | "block" | "echo";
  /** Says so when the written word has reached this. */
  readonly until: number;
}

const { part, words, does, until } = workerData as BellsThreadData;
const bells = new ThreadBells(part);
const view = new Int32Array(words);
bells.onRing(() => {
  const rung = Atomics.add(view, 0, 1) + 1;
  const written = Atomics.load(view, 1);
  if (does === "block" && rung === 1) {
    parentPort?.postMessage("blocked");
    Atomics.wait(view, 2, 0);
  }
  if (does === "echo") {
    bells.ring(0);
    // The others ring for each other all the time, until there is nothing more to come.
    for (let other = 1; other < part.ports.length; other++) {
      if (other !== part.member && written < until) bells.ring(other);
    }
  }
  if (written >= until) parentPort?.postMessage("reached");
});
parentPort?.on("message", () => {
  bells.close();
  process.exit(0);
});
parentPort?.postMessage("listening");
