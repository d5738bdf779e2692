// Entry of a worker thread: runs the seeds it is sent, one at a time.
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.js";
import { bugs } from "../bugs/index.js";
import type { SimArguments } from "../scenario/index.js";
import { runSeed } from "./run-seed.js";

const port = parentPort;
assert(port !== null, "this is the entry of a worker thread");
const { bug } = workerData as { readonly bug: string | null };
const planted = bugs.find(({ name }) => name === bug);
port.on("message", (wanted: SimArguments) => port.postMessage(runSeed(wanted, planted?.plant())));
