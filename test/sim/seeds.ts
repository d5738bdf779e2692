import { strict as assert } from "node:assert";
import { replayCommand, runSeeds, type SeedResult, type SimArguments } from "#src/sim/index.js";

/** Runs seeds on two threads. Fails with each invariant that does not hold and the command that replays it. */
export async function run(first: number, last: number, wanted: Omit<SimArguments, "seed">): Promise<SeedResult[]> {
  const results: SeedResult[] = [];
  const onResult = (result: SeedResult): boolean => results.push(result) > 0;
  await runSeeds({ seeds: [first, last], jobs: 2, arguments: wanted, bug: null, onResult });
  assert.equal(results.length, last - first + 1);
  const failed = results.filter(({ passed }) => !passed);
  const lines = failed.map(({ seed, invariant, message }) => {
    return `${invariant}: ${message}\n  replay: ${replayCommand({ ...wanted, seed })}`;
  });
  assert.equal(failed.length, 0, `\n${lines.join("\n")}`);
  return results;
}
