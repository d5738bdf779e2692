/**
 * barrier: where the threads of a replica meet, for the execution models with several threads. It counts in shared memory and
 * never waits: how a thread waits (spinning, sleeping, or going back to its loop until it is told) is its driver's affair.
 */
export { Barrier, BARRIER_THREADS_MAX, type BarrierPoint } from "./barrier.js";
