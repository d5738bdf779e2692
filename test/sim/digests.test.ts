/**
 * The digests of some traces, recorded once, are those of whatever Node runs this: nothing of the engine gets into a trace.
 * They hold for the code they were recorded with; a change of it has other traces, and `node scripts/digests.mjs --record` after it.
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

test("traces have the digests that are recorded", async (context) => {
  assert.ok(script.endsWith(join("scripts", "digests.mjs")));
  const { sourcesDigest, traceDigests, recordedDigests, differing } = (await import(
    pathToFileURL(script).href
  )) as DigestsScript;
  const recorded = recordedDigests();
  assert.ok(recorded !== null, "nothing is recorded");
  const differ = differing(await traceDigests(), recorded.digests);
  if (differ.length > 0 && sourcesDigest() !== recorded.sources) {
    context.skip(`recorded with other sources, whose traces differ in ${differ.join(", ")}`);
    return;
  }
  assert.deepEqual(differ, [], `recorded with these very sources on another Node or machine than ${process.version}`);
});
