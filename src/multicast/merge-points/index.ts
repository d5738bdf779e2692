/**
 * Merge points: each batch of a group names the prefix of g_all that goes before it, so that an idle g_all costs nothing and
 * a stalled one stops no group (DESIGN safety rule 6).
 */
export * from "./merge.js";
export * from "./pacing.js";
