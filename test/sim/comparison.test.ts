/** Replicas that compare their states, under faults: no alarm, whatever restarts, falls behind and fetches a state. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { drawScenario, runScenario } from "#src/sim/index.js";
import type { Disguise } from "#src/sim/world/index.js";

test("comparing states raises no false alarm, whatever the faults, and costs no progress", () => {
  const alarms: string[] = [];
  const disguise: Disguise = {
    platform: (real, replica) => ({
      ...real,
      events: {
        ...real.events,
        error: (event, fields) => {
          alarms.push(`replica ${replica}: ${event} ${JSON.stringify(fields ?? {})}`);
          real.events.error(event, fields);
        },
      },
    }),
  };
  let restored = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const scenario = drawScenario({ seed });
    const result = runScenario({ ...scenario, options: { ...scenario.options, compareCommands: 7 } }, disguise);
    assert.ok(result.passed, `seed ${seed}: ${result.invariant}: ${result.message}`);
    restored += result.installs + result.rejoins;
    const about = alarms.filter((alarm) => /diverged|states-differ/.test(alarm));
    assert.deepEqual(about, [], `seed ${seed}`);
  }
  assert.ok(restored > 2, "states were restored on the way");
});
