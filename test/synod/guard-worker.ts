/** Loads a service's module as a replica's thread does, executes each of its commands once, and tells what came of it. */
import { parentPort, workerData } from "node:worker_threads";
import { loadServiceModule } from "#src/runtime/index.js";
import { definedRun, outcomes, type Outcome } from "../service/defined-run.js";

export interface GuardWork {
  readonly module: string;
  readonly commands: readonly string[];
}

export interface GuardReport {
  /** Why the module was not loaded. */
  readonly refusal: string | null;
  readonly outcomes: readonly (Outcome | undefined)[];
  /** What this thread itself can still do, behind the guard. */
  readonly own: readonly unknown[];
  /** Promises that failed and that nobody held: their reasons, or the builtins that they name. */
  readonly rejections: readonly string[];
}

const rejections: string[] = [];
const { module, commands } = workerData as GuardWork;
try {
  const service = (
    await loadServiceModule(module, {
      onRejection: (reason) => void rejections.push(/node:\w+/.exec(reason)?.[0] ?? reason),
    })
  ).create();
  const found = commands.map((name) => outcomes(service, definedRun([[name]], { time: 5, seed: 9 }))[0]);
  const own = [Date.now() > 0, new Date().getTime() > 0, Math.random() < 1, performance.now() > 0, process.pid > 0];
  // An import that is refused is known to be when another, made later, is through.
  await import("node:string_decoder");
  await new Promise((resolve) => setTimeout(resolve, 1));
  const report: GuardReport = { refusal: null, outcomes: found, own: [...own, "b".localeCompare("a")], rejections };
  parentPort?.postMessage(report);
} catch (error) {
  const report: GuardReport = { refusal: (error as Error).message, outcomes: [], own: [], rejections };
  parentPort?.postMessage(report);
}
