/**
 * Multi-Ring: streams take turns, and coordinators of quiet streams fill theirs with skips (Marandi et al., DSN'12; PROTOCOLS
 * section 2.3).
 */
export * from "./config.js";
export * from "./merge.js";
export * from "./pacing.js";
