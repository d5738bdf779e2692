/** Simulation: whole clusters on one deterministic scheduler, where a seed replays every fault and interleaving. */
export {};
