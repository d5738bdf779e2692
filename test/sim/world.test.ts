/** The simulated world itself: it is the same twice, it does what its scenario says, and it keeps to the fault model. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { ConfigError } from "#src/model/index.js";
import {
  bugs,
  drawScenario,
  faultNames,
  parseFaults,
  replayCommand,
  runSeed,
  runSeeds,
  type SeedResult,
} from "#src/sim/index.js";

describe("determinism", () => {
  test("one seed gives one history: the same digest twice, on any thread", async () => {
    const seeds = [3, 8, 10];
    const alone = seeds.map((seed) => runSeed({ seed }));
    for (const [index, seed] of seeds.entries()) {
      const again = runSeed({ seed });
      assert.equal(again.traceDigest, (alone[index] as SeedResult).traceDigest, `seed ${seed}`);
      assert.equal(again.events, (alone[index] as SeedResult).events, `seed ${seed}`);
      await runSeeds({
        seeds: [seed, seed],
        jobs: 1,
        arguments: {},
        bug: null,
        onResult: ({ traceDigest }) => {
          assert.equal(traceDigest, (alone[index] as SeedResult).traceDigest, `seed ${seed} on a thread of its own`);
          return true;
        },
      });
    }
    assert.equal(new Set(alone.map(({ traceDigest }) => traceDigest)).size, seeds.length, "seeds differ");
  });

  test("results come in the order of the seeds, and a run ends when it is told to", async () => {
    const seen: number[] = [];
    const onResult = ({ seed }: SeedResult): boolean => seen.push(seed) < 4;
    const few = { faults: [], durability: "fsync", replicas: 1 } as const;
    await runSeeds({ seeds: [1, 50], jobs: 3, arguments: few, bug: null, onResult });
    assert.deepEqual(seen, [1, 2, 3, 4]);
  });

  test("a planted bug goes along to the threads", async () => {
    const bug = bugs.find(({ name }) => name === "vote-before-persist");
    assert.ok(bug !== undefined);
    const results: SeedResult[] = [];
    const onResult = (result: SeedResult): boolean => results.push(result) > 0 && result.passed;
    await runSeeds({ seeds: bug.seeds, jobs: 1, arguments: bug.arguments, bug: bug.name, onResult });
    assert.equal(results.at(-1)?.invariant, bug.invariant);
  });
});

describe("scenarios", () => {
  test("an argument changes itself and nothing else", () => {
    for (let seed = 1; seed <= 30; seed++) {
      const drawn = drawScenario({ seed });
      const fixed = drawScenario({ seed, execution: "sequential", service: "counter", replicas: 5 });
      assert.deepEqual([fixed.execution, fixed.service, fixed.replicas], ["sequential", "counter", 5]);
      const { execution, service, replicas } = drawn;
      assert.deepEqual({ ...fixed, execution, service, replicas }, drawn, `seed ${seed}`);
    }
  });

  test("seeds draw subsets of the faults: all occur, and none always", () => {
    const count = new Map(faultNames.map((fault) => [fault, 0]));
    for (let seed = 1; seed <= 300; seed++) {
      const { faults } = drawScenario({ seed });
      assert.equal(faults.has("thread"), false, "replicas with one group have one thread");
      for (const fault of drawScenario({ seed, groups: 2 }).faults.keys())
        count.set(fault, (count.get(fault) ?? 0) + 1);
    }
    for (const [fault, seeds] of count) assert.ok(seeds > 30 && seeds < 270, `${fault}: ${seeds} of 300`);
  });

  test("faults of a durability that promises less are not asked for", () => {
    const memory = drawScenario({ seed: 1, durability: "memory", faults: faultNames });
    for (const fault of ["crash-all", "damage", "slow-disk", "disk-error"] as const) {
      assert.equal(memory.faults.has(fault), false, fault);
    }
    assert.equal(memory.faults.has("crash"), true);
  });

  test("lists of faults are read strictly", () => {
    assert.deepEqual(parseFaults("all"), faultNames);
    assert.deepEqual(parseFaults("none"), []);
    assert.deepEqual(parseFaults("crash, pause"), ["crash", "pause"]);
    assert.throws(() => parseFaults("crash,earthquake"), ConfigError);
    assert.throws(() => drawScenario({ seed: 1, ordering: "raft" }), ConfigError);
  });

  test("the replay command has what the run was given, and nothing that the seed draws", () => {
    assert.equal(replayCommand({ seed: 7 }), "bin/synod sim --seed 7");
    assert.equal(
      replayCommand({ seed: 7, execution: "sequential", durability: "os", replicas: 5, faults: ["crash", "loss"] }),
      "bin/synod sim --seed 7 --execution sequential --durability os --replicas 5 --faults crash,loss",
    );
    assert.equal(replayCommand({ seed: 7, faults: [] }), "bin/synod sim --seed 7 --faults none");
    assert.equal(
      replayCommand({ seed: 7, execution: "sequential" }, "gap-skipped"),
      "bin/synod sim --seed 7 --bug gap-skipped",
    );
  });
});
