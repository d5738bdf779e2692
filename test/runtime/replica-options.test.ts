/** Options of a replica: what they have to be to each other. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { replicaDefaults, replicaOptions, type ReplicaOptions } from "#src/runtime/index.js";

const MiB = 1024 * 1024;

describe("options of a replica", () => {
  test("have defaults that go together", () => {
    assert.deepEqual(replicaOptions(), replicaDefaults);
    assert.ok(Object.isFrozen(replicaOptions()));
  });

  const refused: readonly (readonly [partial: Partial<ReplicaOptions>, reason: RegExp])[] = [
    [{ logBytesMax: 127 * MiB }, /^logBytesMax must be at least 2 checkpoint intervals = 134217728, got 133169152$/],
    [
      { logBytesMax: 2 * MiB, checkpointBytes: MiB },
      /^logBytesMax must be at least 4 arena chunks = 16777216, got 2097152$/,
    ],
    [
      { logBytesMax: 63 * MiB, checkpointBytes: MiB },
      /^logBytesMax must be at least 4 windows = 67108864, got 66060288$/,
    ],
    [{ windowBytesMax: MiB / 2 }, /^batchBytesMax must be at most windowBytesMax = 524288, got 1048576$/],
    [{ heartbeatMs: -1 }, /^heartbeatMs must be a number of at least 0, got -1$/],
    [{ ingressBytesMax: Number.NaN }, /^ingressBytesMax must be a number of at least 0, got NaN$/],
  ];
  for (const [partial, message] of refused) {
    test(`${JSON.stringify(partial)} is refused with both numbers`, () => {
      assert.throws(() => replicaOptions(partial), { code: "SYNOD_CONFIG", message });
    });
  }

  test("a small log takes a small window", () => {
    const { logBytesMax } = replicaOptions({ logBytesMax: 64 * MiB, checkpointBytes: MiB });
    assert.equal(logBytesMax, 64 * MiB);
  });
});
