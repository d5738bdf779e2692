/** A few seconds of the fuzzers, with the same inputs each time. The long runs are `npm run fuzz`. */
import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import { FuzzFinding, runFuzz } from "./run-fuzz.js";
import { fuzzTargets } from "./targets/index.js";

const RUNS = 2048;
const SEED = 20_261_121;

describe("every decoder survives inputs made of valid ones", () => {
  for (const target of fuzzTargets) {
    it(`${target.name}: ${target.what}`, async () => {
      const { accepted } = await runFuzz({ target, runs: RUNS, seed: SEED });
      // Otherwise nothing would be known of what lies behind the first check.
      assert.ok(accepted > RUNS / 100, `only ${accepted} of ${RUNS} inputs were taken`);
      assert.ok(accepted < RUNS, "no input was refused");
    });
  }

  it("a decoder that fails is found, with the input that did it and the command that replays it", async () => {
    const target = {
      name: "weak",
      what: "a decoder that believes a length",
      corpus: [Uint8Array.of(1, 0, 0, 0, 9)],
      decode: ({ view, start }: { view: DataView; start: number }) =>
        view.getUint8(start + 3 + view.getUint32(start, true)) >= 0,
    };
    const found = await runFuzz({ target, runs: 1000, seed: 3 }).then(
      () => null,
      (error: unknown) => error,
    );
    assert.ok(found instanceof FuzzFinding);
    assert.match(found.message, /weak, seed 3, run \d+: RangeError/);
    assert.match(found.message, /\ninput: [0-9a-f]*\nagain: npm run fuzz -- weak --seed 3 --from \d+ --runs \d+$/);
    const again = /--from (\d+) --runs (\d+)$/.exec(found.message);
    const replayed = runFuzz({ target, runs: Number(again?.[2]), seed: 3, from: Number(again?.[1]) });
    const [, input] = found.message.split("\ninput: ");
    await assert.rejects(replayed, (error: Error) => error.message.endsWith(`\ninput: ${input}`));
  });
});
