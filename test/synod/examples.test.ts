import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot, project, run } from "./project.js";

test("the bank loses no money", async () => {
  const { code, stdout, stderr } = await run(packageRoot, ["examples/bank/main.js"]);
  assert.match(
    stdout,
    /killed replica 3; the other two hold 200000 cents\n[\s\S]*all 200000 cents are there\n$/,
    stderr,
  );
  assert.equal(code, 0);
});

test("the lock is held by one at a time, and not by the dead", async () => {
  const { code, stdout, stderr } = await run(packageRoot, ["examples/lock/main.js"]);
  assert.match(stdout, /17 of 17 pages, one at a time, the last with token 17\nthe lock is held by nobody\n$/, stderr);
  assert.equal(code, 0);
});

test("orders take from several warehouses, of several groups, and no piece is lost", async () => {
  const { code, stdout, stderr } = await run(packageRoot, ["examples/stock/main.js"]);
  assert.match(stdout, /^\d+ orders from one warehouse, \d+ from several, \d+ refused\n/, stderr);
  assert.match(stdout, /all 2200 pieces are there or were sent\n$/, stderr);
  assert.equal(code, 0);
});

test("the compiler knows their types", async () => {
  const compiler = join("node_modules", "typescript", "bin", "tsc");
  const { code, stdout } = await run(packageRoot, [compiler, "-p", "examples"]);
  assert.equal(code, 0, stdout);
});

/** The blocks of code of the guide in this language, in order. */
function blocks(language: string): string[] {
  const guide = readFileSync(join(packageRoot, "docs", "guide.md"), "utf8");
  return [...guide.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(([, text = ""]) => text);
}

test("the guide's first example works by copying it", async (t) => {
  const [first = ""] = blocks("js");
  const directory = project(t, { "package.json": "{}", "bank.mjs": first });
  const { code, stdout, stderr } = await run(directory, ["bank.mjs"]);
  const [expected = ""] = blocks("text");
  assert.equal(stdout.replace(/\d+ ms/, "… ms"), expected, stderr);
  assert.equal(code, 0);
});

test("the guide's TypeScript is accepted by the compiler, without the types of Node", async (t) => {
  const [first = ""] = blocks("ts");
  const directory = project(t, { "bank.ts": first });
  const compiler = join(packageRoot, "node_modules", "typescript", "bin", "tsc");
  const flags = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2023", "--skipLibCheck", "--types", ""];
  const { code, stdout } = await run(directory, [compiler, ...flags, "bank.ts"]);
  assert.equal(code, 0, stdout);
});
