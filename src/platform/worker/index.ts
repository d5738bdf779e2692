/**
 * worker: threads of one process. `port.ts` is what they have in common: a body with small steps that says what it waits for.
 * Siblings: `WorkerThreads` (real ones), `InlineThreads` (in turn in the calling thread), `SimThreads` (in an order drawn from
 * a seed). `ring.ts` carries data between threads through shared memory, `waiting.ts` are the ways to wait for a word of it.
 */
export { checkThreadOptions, threadDefaults, type ThreadOptions, type Waiting } from "./config.js";
export type { LoadedModules } from "./hosted-thread.js";
export { InlineThreads } from "./inline.js";
export {
  StepOutcome,
  type ThreadBody,
  type ThreadContext,
  type ThreadHandle,
  type ThreadHandlers,
  type ThreadInit,
  type ThreadModule,
  type ThreadPort,
  type WaitPoint,
} from "./port.js";
export { createRingMemory, RING_BYTES, RING_BYTES_MAX, RingConsumer, RingProducer } from "./ring.js";
export { SimThreads } from "./sim.js";
export { WorkerThreads } from "./thread.js";
export { block, LaterResume, spin, stillWaits } from "./waiting.js";
