/**
 * Holds the whole repository to its style: layers, purity, doors, names, exports, and nothing of one machine. Each rule is
 * tried on a text that breaks it before it is believed about the texts that do not.
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { below } from "./tidy/layers.js";
import {
  doorViolations,
  exportsViolations,
  importViolations,
  lockViolations,
  machineViolations,
  nameViolations,
  purityViolations,
  referenceViolations,
} from "./tidy/rules.js";
import { importsOf, strip } from "./tidy/source.js";

/** The repository, seen from dist/test/. */
const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** Lists the files below a folder as sorted paths relative to the repository; a folder that is not there has none. */
function filesBelow(folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      return entry.isDirectory() ? filesBelow(path) : [path];
    })
    .sort();
}

const sources = filesBelow("src").filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"));
const tidied = ["src", "test", "scripts", "bench", "bin", "docs", "examples", ".ci"].flatMap(filesBelow);
const atTop = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isFile() && !/\.(?:tgz|log)$/.test(entry.name))
  .map((entry) => entry.name);
const binary = /\.(?:png|jpg|gif|ico|woff2|pdf|gz|bin)$/;
const manifest = JSON.parse(read("package.json")) as { dependencies: Record<string, string> };
const dependencies = new Set(Object.keys(manifest.dependencies));

/** Fails with every objection, one a line. */
function none(objections: readonly string[]): void {
  assert.equal(objections.length, 0, `\n${objections.join("\n")}`);
}

/** Fails unless each text draws exactly one objection, and the one expected. */
function eachObjected(
  rule: (text: string) => string[],
  cases: readonly (readonly [text: string, reason: RegExp])[],
): void {
  for (const [text, reason] of cases) {
    const objections = rule(text);
    assert.equal(objections.length, 1, `${text}\n${objections.join("\n")}`);
    assert.match(objections[0] ?? "", reason);
  }
}

test("there are sources to check", () => {
  assert.ok(sources.length >= below.size, `found ${sources.length} source files for ${below.size} folders`);
});

describe("imports point downward, through doors, never to siblings", () => {
  const objectionsIn = (path: string) => (text: string) => importViolations(path, text, new Set(["zod"]));

  test("in every source file", () => {
    none(sources.flatMap((path) => importViolations(path, read(path), dependencies)));
  });
  test("and every project reference agrees with the layer table", () => {
    for (const folder of below.keys()) {
      const project = JSON.parse(read(`src/${folder}/tsconfig.json`)) as { references?: { path: string }[] };
      none(
        referenceViolations(
          folder,
          (project.references ?? []).map((reference) => reference.path),
        ),
      );
    }
  });
  test("what breaks the layers is reported", () => {
    eachObjected(objectionsIn("src/base/bytes.ts"), [
      ['import { a } from "../model/index.js";', /"base" may not import "model"/],
      ['import type { A } from "../ordering/index.js";', /"base" may not import "ordering"/],
      ['export * from "../../test/tidy/rules.js";', /nothing outside src/],
      ['import fs from "node:fs";', /no package and no builtin/],
      ['import { z } from "zod";', /no package and no builtin/],
      ["const a = await import(name);", /nothing dynamically/],
    ]);
    eachObjected(objectionsIn("src/ordering/raft/message.ts"), [
      ['import { a } from "../pbft/index.js";', /siblings never import each other/],
      ['import { a } from "../quorum/majority.js";', /through its door/],
      ['import { a } from "../index.js";', /does not import the folder around it/],
      ['import { a } from "../../execution/index.js";', /"ordering" may not import "execution"/],
      ['import {\n  a,\n} from "../../model/ids.js";', /through its door/],
    ]);
    eachObjected(objectionsIn("src/runtime/replica.ts"), [
      ['import { a } from "../ordering/raft/index.js";', /only src\/runtime\/registry.ts/],
      ['const a = await import("../gateway/index.js");', /"runtime" may not import "gateway"/],
      ['import { a } from "../platform/storage/index.js";', /inner doors are its own/],
      ['import { a } from "left-pad";', /not among the dependencies/],
      ['import fs from "fs";', /written "node:/],
    ]);
    eachObjected(objectionsIn("src/elsewhere/a.ts"), [["", /no row in the layer table/]]);
  });
  test("what keeps to them is not", () => {
    none(
      objectionsIn("src/ordering/raft/message.ts")('import { a } from "../../base/index.js"; import "./config.js";'),
    );
    none(objectionsIn("src/ordering/raft/leader.ts")('import { a } from "../quorum/index.js";'));
    none(objectionsIn("src/ordering/index.ts")('export * from "./raft/index.js";'));
    none(objectionsIn("src/multicast/single/merge.ts")('import { a } from "../../ordering/index.js";'));
    none(objectionsIn("src/runtime/registry.ts")('import { a } from "../ordering/raft/index.js";'));
    none(objectionsIn("src/gateway/resp/store.ts")('import { a } from "../../service/kv/index.js"; import "zod";'));
    none(objectionsIn("src/base/bytes.ts")('// import "../cli/index.js";\nconst a = \'import "../cli/index.js"\';'));
  });
  test("a reference that the table forbids, or lacks, is reported", () => {
    assert.deepEqual(referenceViolations("model", ["../base"]), []);
    assert.match(referenceViolations("model", ["../base", "../runtime"])[0] ?? "", /references "runtime"/);
    assert.match(referenceViolations("model", [])[0] ?? "", /does not reference "base"/);
    assert.match(referenceViolations("elsewhere", [])[0] ?? "", /no row/);
  });
});

describe("the pure folders are pure", () => {
  const objectionsIn = (text: string): string[] => purityViolations("src/model/probe.ts", text);

  test("in every source file", () => {
    none(sources.flatMap((path) => purityViolations(path, read(path))));
  });
  test("what is impure is reported", () => {
    eachObjected(objectionsIn, [
      ["const now = Date.now();", /\(Date\)/],
      ["const when = [...Date];", /\(Date\)/],
      ["const when = true ? Date : null;", /\(Date\)/],
      ["const a = Math.random();", /engine or on chance/],
      ["const a = Math.pow(2, n);", /engine or on chance/],
      ["const a = Math.log2(n);", /engine or on chance/],
      ["const a = Math\n  .exp(n);", /engine or on chance/],
      ["const a = Math.sin(n);", /engine or on chance/],
      ["const { random } = Math;", /by property/],
      ['const a = Math["random"]();', /by property/],
      ["const a = 2 ** n;", /a power of anything/],
      ["n **= 2;", /a power of anything/],
      ["Atomics.wait(cells, 0, 0);", /never blocks/],
      ["new Intl.Collator();", /\(Intl\)/],
      ["console.log(1);", /\(console\)/],
      ["process.exit(1);", /\(process\)/],
      ["const a = `${process.pid}`;", /\(process\)/],
      ["performance.now();", /\(performance\)/],
      ["setTimeout(run, 1);", /\(setTimeout\)/],
      ["globalThis.x = 1;", /\(globalThis\)/],
      ["a.localeCompare(b);", /locale data/],
      ['import { readFileSync } from "node:fs";', /no builtin \(node:fs\)/],
      ["const a = 4 / 2; Date.now(); // it's /", /\(Date\)/],
    ]);
  });
  test("what only looks impure is not", () => {
    none(objectionsIn("// Date.now() and Math.random() are forbidden here.\n/* process */\nconst a = 'Date';"));
    none(
      objectionsIn("const a = event.process; const b = { process: 1, console: 2 };\ninterface A { process?: number }"),
    );
    none(objectionsIn("const a = /Date|'/; const b = `Date ${a} \\` process`; const c = Math.floor(Math.sqrt(2));"));
    none(objectionsIn("const a = 2 ** 53; Atomics.waitAsync(cells, 0, 0); const updatedDate = a;"));
    none(purityViolations("src/platform/clock.ts", "const now = Date.now();"));
  });
});

describe("every folder has a door that says what it is", () => {
  test("in src/", () => {
    const folders = new Set(sources.map((path) => dirname(path)).filter((folder) => folder !== "src"));
    assert.ok(folders.size >= below.size, `found ${folders.size} folders for ${below.size} rows of the layer table`);
    for (const folder of folders) {
      none(doorViolations(folder, existsSync(join(root, folder, "index.ts")) ? read(`${folder}/index.ts`) : undefined));
    }
  });
  test("a door that is missing or silent is reported", () => {
    assert.match(doorViolations("src/a", undefined)[0] ?? "", /has no door/);
    for (const text of [
      "export {};",
      "/** */\nexport {};",
      "// A comment is no docstring.\nexport {};",
      "/** todo */",
    ]) {
      assert.match(doorViolations("src/a", text)[0] ?? "", /docstring/, text);
    }
    none(doorViolations("src/a", "/**\n * A door which says what lies behind it.\n */\nexport {};"));
  });
});

describe("names are kebab-case nouns", () => {
  test("of every file and folder", () => {
    none(tidied.filter((path) => !path.startsWith("docs/")).flatMap(nameViolations));
  });
  test("a name in another case, or without a noun, is reported", () => {
    eachObjected(nameViolations, [
      ["src/base/RingBuffer.ts", /not kebab-case/],
      ["src/base/ring_buffer.ts", /not kebab-case/],
      ["src/Base/ring.ts", /not kebab-case/],
      ["src/base/ring--buffer.ts", /not kebab-case/],
      ["src/base/utils.ts", /says nothing/],
      ["src/base/byte-helpers.ts", /says nothing/],
      ["src/common/ring.ts", /says nothing/],
      ["src/runtime/session-manager.ts", /says nothing/],
      ["test/manager.test.ts", /says nothing/],
    ]);
    none(nameViolations("src/ordering/multi-paxos/ordering.suite.ts"));
  });
});

describe("the package is what its manifest says", () => {
  test("each target of the exports map is built", () => {
    none(exportsViolations("package.json", read("package.json"), (file) => existsSync(join(root, file))));
  });
  test("a target that is not there is reported", () => {
    const text = JSON.stringify({
      bin: { synod: "bin/synod" },
      exports: { ".": { types: "./dist/a.d.ts", default: "./dist/a.js" } },
    });
    const objections = exportsViolations("package.json", text, (file) => file !== "./dist/a.js");
    assert.deepEqual(objections, ['package.json: "." names ./dist/a.js, which is not there']);
    assert.match(exportsViolations("package.json", '{"bin":{},"exports":{}}', () => true)[0] ?? "", /exports nothing/);
  });
  test("the lock file fits any mirror and installs run no scripts", () => {
    none(lockViolations("package-lock.json", read("package-lock.json")));
  });
  test("a lock file with an address or an install script is reported", () => {
    const lock = (entry: object): string => JSON.stringify({ packages: { "node_modules/a": entry } });
    const rule = (text: string): string[] => lockViolations("package-lock.json", text);
    eachObjected(rule, [
      [lock({ resolved: "https://example.org/a.tgz" }), /download address/],
      [lock({ hasInstallScript: true }), /install script/],
    ]);
    none(rule(lock({ version: "1.0.0" })));
  });
});

describe("nothing holds on one machine only", () => {
  test("in every text", () => {
    none(
      [...tidied, ...atTop].filter((path) => !binary.test(path)).flatMap((path) => machineViolations(path, read(path))),
    );
  });
  test("a path of a machine, or a registry, is reported", () => {
    // The texts are put together here, so that this file does not break the rule it tries.
    eachObjected(
      (text) => machineViolations("docs/a.md", text),
      [
        [`see ${["", "home", "ana", "synod"].join("/")}`, /path of one machine/],
        [`cd ${["", "Users", "ana"].join("/")}`, /path of one machine/],
        [`"${["https:", "", "registry.example.org", "a"].join("/")}"`, /package registry/],
      ],
    );
    none(machineViolations("docs/a.md", "src/runtime/registry.ts, https://example.org/home/ana and ./home/a"));
  });
});

describe("the text reader behind these rules", () => {
  test("keeps positions and removes only what is not code", () => {
    const text = "a(/* b */ 'c', `d${e(`f${g}`)}h`, /i'/.test(j)); // k\nl();";
    const code = strip(text);
    assert.equal(code.length, text.length);
    for (const kept of ["a(", "e(", "g", ".test(j)", "\nl();"]) assert.ok(code.includes(kept), kept);
    for (const gone of ["b", "c", "d", "f", "h", "i", "k"]) assert.ok(!code.includes(gone), gone);
  });
  test("finds static, type-only, re-exported and dynamic imports", () => {
    const text = [
      'import a from "./a.js";',
      'import type { B } from "./b.js";',
      'export { c } from "./c.js";',
      'import "./d.js";',
      'await import("./e.js");',
      "await import(f);",
      "const text = 'from \"./g.js\"';",
    ].join("\n");
    assert.deepEqual(
      importsOf(text).map((found) => found.from),
      ["./a.js", "./b.js", "./c.js", "./d.js", "./e.js", null],
    );
  });
});
