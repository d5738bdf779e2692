/**
 * The digests of some traces, recorded once, are those of whatever Node runs this: nothing of the engine gets into a trace.
 * A change of the code that changes traces records them anew: `node scripts/digests.mjs --record`.
 */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

interface Digests {
  readonly sources: string;
  readonly digests: Readonly<Record<string, string>>;
}
interface DigestsScript {
  readonly sourcesDigest: () => string;
  readonly traceDigests: () => Promise<Readonly<Record<string, string>>>;
  readonly recordedDigests: () => Digests | null;
  readonly differing: (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>) => string[];
}

const script = fileURLToPath(new URL("../../../scripts/digests.mjs", import.meta.url));

test("traces have the digests that are recorded", async () => {
  assert.ok(script.endsWith(join("scripts", "digests.mjs")));
  const { sourcesDigest, traceDigests, recordedDigests, differing } = (await import(
    pathToFileURL(script).href
  )) as DigestsScript;
  const recorded = recordedDigests();
  assert.ok(recorded !== null, "nothing is recorded");
  const differ = differing(await traceDigests(), recorded.digests);
  const cause =
    sourcesDigest() === recorded.sources
      ? `recorded with these very sources on another Node or machine than ${process.version}`
      : "recorded with other sources: if traces were meant to change, run node scripts/digests.mjs --record";
  assert.deepEqual(differ, [], cause);
});
