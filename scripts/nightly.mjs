// The long profile of the proofs, for a night: `node scripts/nightly.mjs [--seeds N] [--fuzz N] [--jobs J]` after the build.
// Seeds as they draw their faults, seeds with every fault at once for each service, the services of the examples, every
// planted bug, the traces of this Node, and every fuzzer. Each step runs whatever became of those before it; exit 5 if one failed.

import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { commitSeed } from "./commit-seed.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { values } = parseArgs({
  options: {
    /** Seeds as drawn; the steps with every fault run a tenth of them each. */
    seeds: { type: "string", default: "10000" },
    /** Inputs of each fuzzer. */
    fuzz: { type: "string", default: "10000000" },
    jobs: { type: "string", default: String(availableParallelism()) },
  },
});
const [seeds, fuzz, jobs] = [values.seeds, values.fuzz, values.jobs].map(Number);
for (const [name, value] of Object.entries({ seeds, fuzz, jobs })) {
  if (!Number.isInteger(value) || value < 1) {
    console.error(`synod: --${name} is a whole number of at least 1`);
    process.exit(4);
  }
}

const failed = [];
function step(name, ...args) {
  console.log(`\n== ${name}: node ${args.join(" ")}`);
  if (spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" }).status !== 0) failed.push(name);
}
const synod = join("bin", "synod");
const { seed, origin } = commitSeed(root);
// Another range for each commit, clear of those that every run of the tests has.
const first = 1_000_000 + (seed % 100_000) * 100_000;
const few = Math.max(1, Math.floor(seeds / 10));
const range = (count) => `${first}..${first + count - 1}`;
console.log(`seeds from ${first} (${origin})`);

step("drawn faults", synod, "sim", "--seeds", range(seeds), "--jobs", String(jobs));
for (const service of [
  "kv",
  "btree",
  "counter",
  "./examples/bank/bank.js",
  "./examples/lock/lock.js",
  "./examples/stock/stock.js",
]) {
  const args = ["--seeds", range(few), "--jobs", String(jobs), "--faults", "all", "--service", service];
  step(`every fault, ${service}`, synod, "sim", ...args);
}
const listed = spawnSync(process.execPath, [synod, "sim", "--list-bugs", "--json"], { cwd: root, encoding: "utf8" });
for (const { name } of JSON.parse(listed.stdout).bugs) {
  console.log(`\n== planted bug ${name}`);
  const { status } = spawnSync(process.execPath, [synod, "sim", "--bug", name, "--jobs", "1"], { cwd: root });
  // Exit 5 says that it was found.
  console.log(status === 5 ? "found" : "NOT FOUND");
  if (status !== 5) failed.push(`planted bug ${name}`);
}
step("traces", join("scripts", "digests.mjs"));
step(
  "fuzzers",
  "--expose-gc",
  "--max-old-space-size=128",
  join("dist", "test", "fuzz", "index.js"),
  "all",
  "--runs",
  String(fuzz),
  "--seed",
  String(seed),
);
console.log(failed.length === 0 ? "\n✔ nothing failed" : `\n✖ failed: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 5;
