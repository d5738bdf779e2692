// Entry of a worker thread: shrinks one seed and says how far it has come.
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.js";
import { bugs } from "../bugs/index.js";
import type { ShrinkRequest } from "./shrink-thread.js";
import { shrinkSeed } from "./shrink-seed.js";

const port = parentPort;
assert(port !== null, "this is the entry of a worker thread");
const { wanted, bug, runsMax } = workerData as ShrinkRequest;
const planted = bugs.find(({ name }) => name === bug) ?? null;
const shrunk = shrinkSeed(wanted, planted, runsMax, (runs) => port.postMessage({ runs }));
port.postMessage({ shrunk });
