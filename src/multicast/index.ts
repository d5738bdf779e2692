/** Multicast: merges the ordered streams of many groups into one order for each execution thread. */
export {};
