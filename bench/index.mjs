// Lists the benchmarks, or runs one: `npm run bench -- NAME [flags]`. Figures and commands are in docs/performance.md.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".mjs") && file !== "index.mjs")
  .map((file) => file.slice(0, -".mjs".length));
const [name, ...flags] = process.argv.slice(2);
if (name === undefined || !names.includes(name)) {
  console.log(`benchmarks: ${names.join(", ")}\nrun one with: npm run bench -- NAME [flags]`);
  process.exit(name === undefined ? 0 : 4);
}
process.exit(spawnSync(process.execPath, [`${folder}${name}.mjs`, ...flags], { stdio: "inherit" }).status ?? 1);
