// The digests of the traces of some seeds, which are the same on every version of Node and on every machine:
// `node scripts/digests.mjs [--record] [--versions 22,24]` after the build. Without flags they are compared with those that
// are recorded (exit 5 if one differs); --versions compares this Node's with those of others, which npx fetches.

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const recordedAt = join(root, "test", "sim", "digests.json");
const seeds = Array.from({ length: 12 }, (_, index) => index + 1);
const serviceSeeds = [1, 2];
const groupsSeeds = [1, 3];
const optimistic = { groups: 2, execution: "opt-psmr", service: "btree" };
const service = join(root, "examples", "bank", "bank.js");
/** What a trace depends on. */
const folders = [
  "base",
  "model",
  "ordering",
  "execution",
  "service",
  "client",
  "platform",
  "runtime",
  "gateway",
  "sim",
];

/** A digest of the text of all that a trace depends on: other code, other traces. */
export function sourcesDigest() {
  const hash = createHash("sha256");
  for (const folder of folders.map((name) => join("src", name))) {
    const names = readdirSync(join(root, folder), { recursive: true }).filter((name) => name.endsWith(".ts"));
    for (const name of names.map((each) => join(folder, each).replaceAll("\\", "/")).sort()) {
      hash.update(`${name}\n${readFileSync(join(root, name), "utf8").replaceAll("\r\n", "\n")}\n`);
    }
  }
  return hash.digest("hex").slice(0, 32);
}

/** By name of the run. */
export async function traceDigests() {
  const { runSeed, runServiceSeed } = await import("../dist/sim/index.js");
  const digests = {};
  for (const seed of seeds) digests[`seed ${seed}`] = runSeed({ seed }).traceDigest;
  for (const seed of groupsSeeds) digests[`opt-psmr seed ${seed}`] = runSeed({ seed, ...optimistic }).traceDigest;
  // Behind the others, since the guard of a user's service changes what the process may do.
  const { loadSimulatedService } = await import("../dist/runtime/index.js");
  const loaded = await loadSimulatedService(service);
  for (const seed of serviceSeeds) digests[`bank seed ${seed}`] = runServiceSeed({ seed, service }, loaded).traceDigest;
  return digests;
}

/** What is recorded, and for what sources; null if nothing is. */
export function recordedDigests() {
  return existsSync(recordedAt) ? JSON.parse(readFileSync(recordedAt, "utf8")) : null;
}

/** Names of the runs whose digests differ. */
export function differing(a, b) {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => a[name] !== b[name]);
}

async function main() {
  const { values } = parseArgs({
    options: {
      record: { type: "boolean", default: false },
      versions: { type: "string" },
      print: { type: "boolean", default: false },
    },
  });
  const own = await traceDigests();
  if (values.print) {
    console.log(JSON.stringify(own));
    return 0;
  }
  let failed = false;
  const compare = (what, other) => {
    const names = differing(own, other);
    console.log(names.length === 0 ? `✔ ${what}: ${Object.keys(own).length} equal` : `✖ ${what}: ${names.join(", ")}`);
    failed ||= names.length > 0;
  };
  for (const version of values.versions?.split(",") ?? []) {
    const args = ["-y", "-p", `node@${version}`, "node", fileURLToPath(import.meta.url), "--print"];
    const { status, stdout } = spawnSync("npx", args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    if (status !== 0) throw new Error(`Node ${version} did not run`);
    compare(`Node ${version} and ${process.version}`, JSON.parse(stdout.trim().split("\n").at(-1)));
  }
  if (values.record) {
    writeFileSync(recordedAt, `${JSON.stringify({ sources: sourcesDigest(), digests: own }, null, 2)}\n`);
    console.log("recorded in test/sim/digests.json");
  } else if (values.versions === undefined) compare("recorded", recordedDigests()?.digests ?? {});
  return failed ? 5 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
