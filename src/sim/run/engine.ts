import { setFlagsFromString } from "node:v8";

/** The engines that this was measured on. Later ones have a compiler between the two, and other budgets. */
const MEASURED_VERSIONS = /^11\./;

/**
 * Tells the engine what kind of program this is, for all threads that are started from now on and for this one: seeds run
 * many functions a little each, rather than few very often. By default a fifth of all time, and a third in the first
 * seconds, goes into optimizing them; so everything is compiled plainly at once, and optimized later. That changes when code
 * is compiled and never what it does. To be called before the first seed.
 */
export function tuneEngine(): void {
  if (!MEASURED_VERSIONS.test(process.versions.v8)) return;
  setFlagsFromString("--always-sparkplug");
  setFlagsFromString("--interrupt-budget=400000");
}
