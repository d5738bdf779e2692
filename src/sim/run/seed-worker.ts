// Entry of a worker thread: runs the seeds it is sent, one at a time.
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.js";
import { ConfigError } from "../../model/index.js";
import { isServiceModule, loadSimulatedService } from "../../runtime/index.js";
import { bugs } from "../bugs/index.js";
import type { SimArguments } from "../scenario/index.js";
import { runSeed } from "./run-seed.js";
import { runServiceSeed } from "./run-service-seed.js";
import type { FromSeedWorker, SeedWorkerData } from "./seed-pool.js";

const port = parentPort;
assert(port !== null, "this is the entry of a worker thread");
const { bug, service } = workerData as SeedWorkerData;
const planted = bugs.find(({ name }) => name === bug);
const say = (message: FromSeedWorker): void => port.postMessage(message);
if (service === undefined || !isServiceModule(service)) {
  port.on("message", (wanted: SimArguments) => say(runSeed(wanted, planted?.plant())));
} else {
  // The guard stays in this thread, and so does the service: seeds share its module, as the replicas of one seed do.
  loadSimulatedService(service).then(
    (loaded) =>
      port.on("message", (wanted: SimArguments) => {
        try {
          say(runServiceSeed(wanted, loaded));
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          say({ refused: error.message });
        }
      }),
    (error: unknown) => say({ refused: error instanceof Error ? error.message : String(error) }),
  );
}
