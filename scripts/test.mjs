// Runs the built test files: `node scripts/test.mjs [part of a path]...`. The files are listed explicitly, since a folder
// or a pattern means different things to the runners of Node 20 and of later versions.

import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { commitSeed, variable } from "./commit-seed.mjs";

/** Clusters of several processes run in these tests; more than two files at a time would starve their timeouts. */
const concurrentFilesMax = 2;
/** A test that takes longer than this hangs. Long searches belong to `npm run soak`. */
const testTimeoutMs = 300_000;

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "dist", "test");
const filters = process.argv.slice(2);

const files = (existsSync(folder) ? readdirSync(folder, { recursive: true }) : [])
  .filter((name) => name.endsWith(".test.js"))
  .map((name) => relative(root, join(folder, name)))
  .filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter.replace(/\.ts$/, ""))))
  .sort();

if (files.length === 0) {
  const what = filters.length === 0 ? "is there; run `npm run build` first" : `has ${filters.join(" or ")} in its path`;
  console.error(`synod: no built test file ${what}`);
  process.exit(1);
}

const { seed, origin } = commitSeed(root);
console.log(`seed of random tests: ${seed} (${origin}); again with ${variable}=${seed}`);
const runner = spawn(
  process.execPath,
  [
    "--enable-source-maps",
    // Goes along to the process of every test file.
    `--import=${pathToFileURL(join(folder, "fixed-seed.js"))}`,
    "--test",
    "--test-reporter=spec",
    `--test-concurrency=${concurrentFilesMax}`,
    `--test-timeout=${testTimeoutMs}`,
    ...files,
  ],
  { cwd: root, stdio: "inherit", env: { ...process.env, [variable]: String(seed) } },
);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => runner.kill(signal));
runner.on("error", (error) => {
  console.error(`synod: the test runner did not start: ${error.message}`);
  process.exit(1);
});
runner.on("exit", (code) => process.exit(code ?? 1));
