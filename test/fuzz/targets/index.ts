import type { FuzzTarget } from "../target.js";
import { controlTargets } from "./control.js";
import { stateTargets } from "./state.js";
import { storageTargets } from "./storage.js";
import { textTargets } from "./text.js";
import { wireTargets } from "./wire.js";

/** Every decoder of bytes that come from outside of the process. */
export const fuzzTargets: readonly FuzzTarget[] = [
  ...wireTargets,
  ...storageTargets,
  ...textTargets,
  ...controlTargets,
  ...stateTargets(),
];
