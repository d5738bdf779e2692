import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runWorld } from "./opt-psmr-check.js";
import { worldOptions } from "./opt-psmr-world.js";

const SEEDS = 30;

describe("opt-PSMR: threads under a seeded scheduler (O1 to O4)", () => {
  for (const optimistic of ["replicas", "client"] as const) {
    for (const barrier of ["run", "command"] as const) {
      test(`are equal, and end as a sequential execution (${optimistic} multicast again, barrier per ${barrier})`, () => {
        const counts = { passed: 0, failed: 0, along: 0, conservative: 0, refused: 0, repeated: 0 };
        for (let seed = 1; seed <= SEEDS; seed++) {
          try {
            const { oracle } = runWorld(worldOptions(seed, { replica: { optimistic, barrier } }));
            for (const [name, count] of Object.entries(oracle.counts)) counts[name as keyof typeof counts] += count;
          } catch (error) {
            throw new Error(`seed ${seed}`, { cause: error });
          }
        }
        for (const [name, count] of Object.entries(counts))
          assert.ok(count > 5, `${name} is hardly ever tried: ${count}`);
      });
    }
  }
});
