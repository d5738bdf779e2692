import { assert } from "../../base/index.js";
import { ENTRIES_MAX } from "./entries.js";

/**
 * What a store holds at most, counted in entries and in bytes of keys and values, never in memory: all replicas must come to
 * the same answer. Their owner asks `hasRoom` before a change.
 */
export interface StoreLimits {
  /** Most entries. */
  readonly entriesMax: number;
  /** Most bytes of all keys and values. */
  readonly bytesMax: number;
}

/** The heap refers to 64 GiB, which leaves room for what blocks have beyond their bytes and for gaps between them. */
export const STORE_BYTES_MAX = 16 * 1024 * 1024 * 1024;

export const STORE_LIMITS: StoreLimits = Object.freeze({ entriesMax: ENTRIES_MAX, bytesMax: STORE_BYTES_MAX });

export function checkLimits(limits: StoreLimits): StoreLimits {
  const { entriesMax, bytesMax } = limits;
  assert(
    Number.isSafeInteger(entriesMax) && entriesMax >= 0 && entriesMax <= ENTRIES_MAX,
    "entriesMax is out of range",
  );
  assert(Number.isSafeInteger(bytesMax) && bytesMax >= 0 && bytesMax <= STORE_BYTES_MAX, "bytesMax is out of range");
  return limits;
}
