// Builds dist/ from src/ and test/, and keeps it an exact image of them: an output whose source is gone is removed,
// because a stale module could still be imported, tested or published.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(root, "dist");
const outputs = [".d.ts.map", ".d.ts", ".js.map", ".js"];

/** The path of the compiler's program, or null where it is not installed (a production install leaves it out). */
function findCompiler() {
  try {
    const manifest = createRequire(import.meta.url).resolve("typescript/package.json");
    return join(dirname(manifest), "bin", "tsc");
  } catch {
    return null;
  }
}

/** Lists the files below a folder, or nothing if there is no such folder. */
function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** The source of an output, or null for a file that the compiler did not write and that is therefore left alone. */
function sourceOf(output) {
  const inside = relative(dist, output);
  const origin = inside.startsWith(`test${sep}`) ? root : join(root, "src");
  if (inside.endsWith(`${sep}tsconfig.tsbuildinfo`)) return join(origin, dirname(inside), "tsconfig.json");
  const ending = outputs.find((candidate) => inside.endsWith(candidate));
  return ending === undefined ? null : join(origin, `${inside.slice(0, -ending.length)}.ts`);
}

function removeOrphans() {
  for (const output of filesBelow(dist)) {
    const source = sourceOf(output);
    if (source !== null && !existsSync(source)) rmSync(output);
  }
  removeEmptyFolders(dist);
}

function removeEmptyFolders(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmptyFolders(join(folder, entry.name));
  }
  if (readdirSync(folder).length === 0) rmdirSync(folder);
}

/** True if a source has no output; the compiler trusts its own record of a build and would not notice a lost file. */
function outputIsMissing() {
  const sources = [...filesBelow(join(root, "src")), ...filesBelow(join(root, "test"))].filter(
    (file) => file.endsWith(".ts") && !file.endsWith(".d.ts"),
  );
  return sources.some((source) => {
    const inside = relative(root, source).replace(/^src[\\/]/, "");
    return !existsSync(join(dist, `${inside.slice(0, -".ts".length)}.js`));
  });
}

const compiler = findCompiler();
if (compiler === null) {
  const optional = process.argv.includes("--if-compiler-present");
  console.error("synod: the TypeScript compiler is not installed, so dist/ was not built");
  process.exit(optional ? 0 : 1);
}
removeOrphans();
const built = () => spawnSync(process.execPath, [compiler, "-b"], { cwd: root, stdio: "inherit" }).status ?? 1;
let status = built();
if (status === 0 && outputIsMissing()) {
  for (const file of filesBelow(dist)) if (file.endsWith(".tsbuildinfo")) rmSync(file);
  status = built();
}
process.exit(status);
