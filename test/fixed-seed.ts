/**
 * Loaded ahead of each test file by the test runner: properties draw their inputs from the seed that the runner gives, in
 * place of the clock, so that one commit has one result. Threads that tests start have no properties.
 */
import { isMainThread } from "node:worker_threads";

const seed = process.env["SYNOD_TEST_SEED"];
if (isMainThread && seed !== undefined) {
  const { default: fc } = await import("fast-check");
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) });
}
