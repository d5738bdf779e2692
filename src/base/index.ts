/**
 * base: the smallest pieces everything else stands on: bounded byte writers, copies of bytes, assertions, seeded randomness, hashes,
 * a heap, a ring and a byte queue. Nothing here knows what replication is.
 */
export { assert, unreachable, AssertionError } from "./assert.js";
export { ByteQueue } from "./byte-queue.js";
export { ByteSlab } from "./byte-slab.js";
export { ByteWriter, CapacityError, decodeUtf8, encodeUtf8, latin1 } from "./bytes.js";
export { Heap } from "./heap.js";
export { fnv1a, Hash64, hashBytes, hashLong, hashText, mix32 } from "./hash.js";
export { Prng } from "./prng.js";
export { Ring } from "./ring.js";
export { KiB, MiB } from "./units.js";
