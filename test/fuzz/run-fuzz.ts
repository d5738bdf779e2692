import { mix32, Prng } from "#src/base/index.js";
import { Mutator } from "./mutator.js";
import { type FuzzTarget, RESET_RUNS } from "./target.js";

export interface FuzzInit {
  readonly target: FuzzTarget;
  /** Inputs to try. */
  readonly runs: number;
  readonly seed: number;
  /** The first run; a multiple of `RESET_RUNS`. */
  readonly from?: number;
  /** Most bytes of resident memory of this process; Infinity where other things live in it. */
  readonly memoryBytesMax?: number;
  readonly onProgress?: (runs: number) => void;
}

export interface FuzzResult {
  readonly runs: number;
  readonly accepted: number;
  /** Highest resident memory seen, in bytes. */
  readonly memoryBytes: number;
}

/** A decoder did what it must not. The message names the seed, the run and the input. */
export class FuzzFinding extends Error {
  override readonly name = "FuzzFinding";
  /** Runs `[from, from + runs)` of the seed find it again. */
  readonly from: number;
  readonly runs: number;

  constructor(message: string, from: number, runs: number, cause: unknown) {
    super(message, { cause });
    this.from = from;
    this.runs = runs;
  }
}

/** An input that takes longer than this, in ms of CPU time, is a finding: nothing here decodes more than some KiB. */
const INPUT_CPU_MS_MAX = 2000;

/**
 * Tries inputs. Run k of a seed is the same input always, whatever ran before it. Rejects with a `FuzzFinding`.
 *
 * Memory is looked at every `RESET_RUNS` inputs, garbage included while there is less than half of what is allowed: a
 * decoder that believed lengths would show.
 */
export async function runFuzz(init: FuzzInit): Promise<FuzzResult> {
  const { target, runs, seed, from = 0, memoryBytesMax = Infinity, onProgress } = init;
  const mutator = new Mutator();
  const { bytes, start } = mutator;
  const corpus = target.corpus;
  const tokens = target.tokens ?? [];
  let accepted = 0;
  let memoryBytes = 0;
  let cpuMs = cpuMsNow();
  const { gc: collect } = globalThis as { gc?: () => void };
  for (let run = from; run < from + runs; run++) {
    if (run % RESET_RUNS === 0) {
      target.reset?.();
      let memory = process.memoryUsage.rss();
      if (memory > memoryBytesMax / 2 && collect !== undefined) {
        // Restored states are large and live for one input: the engine is in no hurry to collect memory outside its heap.
        collect();
        memory = process.memoryUsage.rss();
      }
      memoryBytes = Math.max(memoryBytes, memory);
      if (memory > memoryBytesMax) throw finding(init, mutator, run, new Error(`${memory} bytes of memory are in use`));
      const now = cpuMsNow();
      if (now - cpuMs > INPUT_CPU_MS_MAX * 10) {
        throw finding(init, mutator, run, new Error(`${RESET_RUNS} inputs took ${Math.round(now - cpuMs)} ms`));
      }
      cpuMs = now;
      onProgress?.(run - from);
    }
    const prng = new Prng(mix32(seed ^ mix32(run)) + 4294967296 * (run & 0xfffff));
    mutator.make(prng, corpus, tokens);
    const { end } = mutator;
    const view = new DataView(bytes.buffer, 0, end);
    if (target.seal !== undefined && !prng.chance(0.25)) target.seal(bytes, view, start, end);
    try {
      const taken = target.decode({ bytes, view, start, end, prng });
      if (typeof taken === "boolean" ? taken : await taken) accepted++;
    } catch (error) {
      throw finding(init, mutator, run, error);
    }
  }
  return { runs, accepted, memoryBytes: Math.max(memoryBytes, process.memoryUsage.rss()) };
}

function cpuMsNow(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function finding({ target, seed }: FuzzInit, mutator: Mutator, run: number, error: unknown): FuzzFinding {
  const input = Buffer.from(mutator.bytes.subarray(mutator.start, mutator.end)).toString("hex");
  const first = Math.floor(run / RESET_RUNS) * RESET_RUNS;
  const replay = `npm run fuzz -- ${target.name} --seed ${seed} --from ${first} --runs ${run - first + 1}`;
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const message = `${target.name}, seed ${seed}, run ${run}: ${stack}\ninput: ${input}\nagain: ${replay}`;
  return new FuzzFinding(message, first, run - first + 1, error);
}
