import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import type { GuardReport, GuardWork } from "./guard-worker.js";
import { project } from "./project.js";

/** What the guard says of a module, which is the first of the files, and of its commands. */
async function guarded(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  commands: readonly string[] = [],
): Promise<GuardReport> {
  const [first = ""] = Object.keys(files);
  const workerData: GuardWork = { module: join(project(t, files), first), commands };
  const worker = new Worker(new URL("./guard-worker.js", import.meta.url), { workerData });
  return new Promise((resolve, reject) => {
    worker.once("message", (report: GuardReport) => {
      void worker.terminate().then(() => resolve(report));
    });
    worker.once("error", reject);
  });
}

/** A module with one command for each body. */
const service = (bodies: Readonly<Record<string, string>>, before = ""): string => `
  import { defineService, table } from "synod";
  ${before}
  export default defineService({
    module: import.meta.url, name: "suspect", tables: { rows: table() },
    commands: { ${Object.entries(bodies)
      .map(([name, body]) => `${name}: { keys: "all", execute: ({ rows }, a, ctx) => { ${body} } }`)
      .join(",\n")} },
  });`;

/** What a command may not do, and what it is told. */
const trespasses: Readonly<Record<string, readonly [body: string, message: RegExp]>> = {
  dateNow: ["return Date.now()", /Date\.now\(\) differs between replicas; use ctx\.time/],
  newDate: ["return new Date().getTime()", /new Date\(\).*ctx\.time/],
  dateText: ["return Date()", /Date\(\).*ctx\.time/],
  dateOfDate: ["return new (new Date(0).constructor)().getTime()", /new Date\(\)/],
  dateLocal: ["return new Date(2020, 1, 1).getTime()", /Date\.UTC/],
  dateParsed: ['return Date.parse("2020-01-01T00:00:00")', /time zone/],
  dateHours: ["return new Date(0).getHours()", /getHours\(\).*UTC methods/],
  datePrinted: ["return String(new Date(0))", /toString\(\)/],
  dateLocale: ["return new Date(0).toLocaleDateString()", /toLocaleDateString/],
  random: ["return Math.random()", /Math\.random\(\).*ctx\.random\(\)/],
  performance: ["return performance.now()", /performance\.now\(\).*ctx\.time/],
  mark: ['return performance.mark("a").startTime', /performance\.mark\(\).*ctx\.time/],
  origin: ["return performance.timeOrigin", /performance\.timeOrigin.*ctx\.time/],
  eventTime: ['return new Event("a").timeStamp', /timeStamp.*ctx\.time/],
  abortLater: ["return AbortSignal.timeout(1).aborted", /AbortSignal\.timeout\(\).*a command of its own/],
  file: ['return new File([], "a").lastModified', /File.*ctx\.time/],
  objectUrl: ["return URL.createObjectURL(new Blob([]))", /createObjectURL\(\).*ctx\.random/],
  atomicsWait: [
    "return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)",
    /Atomics\.wait\(\).*a command of its own/,
  ],
  channel: ["new MessageChannel().port1.close()", /MessageChannel/],
  timeout: ["setTimeout(() => {}, 1)", /setTimeout\(\).*a command of its own/],
  interval: ["setInterval(() => {}, 1)", /setInterval/],
  immediate: ["setImmediate(() => {})", /setImmediate/],
  microtask: ["queueMicrotask(() => {})", /queueMicrotask/],
  uuid: ["return crypto.randomUUID()", /crypto\.randomUUID\(\).*ctx\.random/],
  randomBytes: ["return crypto.getRandomValues(new Uint8Array(4))", /getRandomValues/],
  fetch: ['void fetch("http://127.0.0.1:1")', /fetch/],
  environment: ["return process.env.HOME", /process\.env.*as an argument/],
  hrtime: ["return process.hrtime()[0]", /process\.hrtime/],
  nextTick: ["process.nextTick(() => {})", /process\.nextTick/],
  language: ['return new Intl.Collator().compare("a", "b")', /Intl\.Collator/],
  collation: ['return "a".localeCompare("ä")', /localeCompare/],
  number: ["return (1.5).toLocaleString()", /toLocaleString/],
  weak: ["return typeof new WeakRef({}).deref()", /WeakRef/],
  finalizer: ["new FinalizationRegistry(() => {})", /FinalizationRegistry/],
  viaGlobal: ["return globalThis.Math.random()", /Math\.random/],
  viaFunction: ['return new Function("return Date.now()")()', /Date\.now/],
  captured: ["return now()", /Date\.now/],
  swallowed: ["try { Date.now() } catch {} return 1", /Date\.now/],
};

/** What is allowed, with its result: the same on every replica. */
const allowed: Readonly<Record<string, readonly [body: string, result: unknown]>> = {
  utc: ["return new Date(Date.UTC(2020, 0, 2)).toISOString()", "2020-01-02T00:00:00.000Z"],
  parsed: ['return Date.parse("2020-01-01T00:00:00Z") - Date.parse("2020-01-01")', 0],
  moment: ["return new Date(ctx.time).getTime()", 5],
  date: ["return [new Date(7) instanceof Date, new Date(7).getUTCMilliseconds()]", [true, 7]],
  arithmetic: ["return Math.max(1, 2) + Math.floor(1.5)", 3],
  text: ['return "B".toLowerCase().padEnd(2, "c")', "bc"],
  sorted: ['return ["b", "a"].sort()', ["a", "b"]],
  versions: ["return typeof process.versions.node", "string"],
};

describe("the determinism guard", () => {
  test("stops a command that uses what differs between replicas, says where, and what to use instead", async (t) => {
    const bodies = Object.fromEntries(
      [...Object.entries(trespasses), ...Object.entries(allowed)].map(([name, [body]]) => [
        name,
        `rows.set("trace", "${name}"); ${body}`,
      ]),
    );
    bodies["trace"] = 'return rows.get("trace") ?? null';
    const names = [...Object.keys(trespasses), "trace", ...Object.keys(allowed)];
    const report = await guarded(t, { "suspect.js": service(bodies, "const { now } = Date;") }, names);
    assert.equal(report.refusal, null);
    for (const [i, name] of names.entries()) {
      const outcome = report.outcomes[i];
      const trespass = trespasses[name];
      if (trespass !== undefined) {
        assert.ok(outcome !== undefined && "error" in outcome, `${name}: ${JSON.stringify(outcome)}`);
        assert.equal(outcome.error, "determinism", `${name}: ${outcome.message}`);
        assert.match(outcome.message, new RegExp(`^service suspect, command ${name}: `));
        assert.match(outcome.message, trespass[1]);
      } else if (name === "trace") {
        assert.deepEqual(outcome, { result: null }, "a command that was stopped left a trace");
      } else assert.deepEqual(outcome, { result: allowed[name]?.[1] }, name);
    }
    // The replica around the service goes on using its clock.
    assert.deepEqual(report.own, [true, true, true, true, true, 1]);
  });

  test("a promise that a command drops and that fails ends nothing", async (t) => {
    const bodies = {
      rejects: 'Promise.reject(new Error("late")); return 1',
      imports: 'import("node:fs"); return 2',
      after: "return 3",
    };
    const report = await guarded(t, { "suspect.js": service(bodies) }, Object.keys(bodies));
    assert.deepEqual(report.outcomes, [{ result: 1 }, { result: 2 }, { result: 3 }]);
    assert.deepEqual(report.rejections, ["late", "node:fs"]);
  });

  const refusals: readonly (readonly [what: string, files: Readonly<Record<string, string>>, reason: RegExp])[] = [
    [
      "the clock at its top",
      { "a.js": service({ a: "" }, "const start = Date.now();") },
      /service module .*a\.js: Date\.now\(\)/,
    ],
    ["the clock, and hides it", { "a.js": service({ a: "" }, "try { Date.now() } catch {}") }, /Date\.now\(\)/],
    ["a timer", { "a.js": service({ a: "" }, "setInterval(() => {}, 1000);") }, /setInterval\(\)/],
    [
      "a file system",
      { "a.js": service({ a: "" }, 'import "node:fs";') },
      /a\.js imports node:fs, which reaches outside/,
    ],
    ["a builtin without its prefix", { "a.js": service({ a: "" }, 'import "crypto";') }, /imports node:crypto/],
    [
      "a module that does",
      {
        "a.js": service({ a: "" }, 'import "./b.js";'),
        "b.js": 'export * from "./c.js";',
        "c.js": 'import "node:net";',
      },
      /c\.js imports node:net/,
    ],
    [
      "a CommonJS module that does",
      { "a.js": service({ a: "" }, 'import "./b.cjs";'), "b.cjs": 'require("fs");' },
      /b\.cjs requires node:fs/,
    ],
    ["a builtin later", { "a.js": service({ a: "" }, 'await import("node:os");') }, /imports node:os/],
    ["what is not there", { "a.js": service({ a: "" }, 'import "./nothing.js";') }, /can't be loaded: .*nothing\.js/],
    ["no syntax", { "a.js": "export default {" }, /can't be loaded: SyntaxError/],
    ["no definition", { "a.js": "export const bank = {};" }, /exports nothing that defineService made/],
    [
      "two definitions",
      {
        "a.js": `${service({ a: "" })}\nexport const other = defineService({ name: "other", tables: { rows: table() }, commands: { a: { keys: "all", execute() {} } } });`,
      },
      /several services, suspect, other; say which one, as in .*a\.js#suspect/,
    ],
    ["a definition that is wrong", { "a.js": service({ close: "" }) }, /"close" can't be the name of a command/],
  ];
  for (const [what, files, reason] of refusals) {
    test(`refuses a module with ${what}`, async (t) => {
      const report = await guarded(t, files);
      assert.match(report.refusal ?? "it was loaded", reason);
    });
  }

  test("lets modules through that compute and nothing else", async (t) => {
    const before =
      'import { join } from "node:path/posix"; import assert from "node:assert"; import { half } from "./half.cjs";';
    const files = {
      "a.mjs": service({ a: 'assert(half(4) === 2); return join("a", "b")' }, before),
      "half.cjs": 'const { inspect } = require("util"); exports.half = (n) => (inspect(n), n / 2);',
    };
    assert.deepEqual((await guarded(t, files, ["a"])).outcomes, [{ result: "a/b" }]);
  });

  test("finds the definition of a CommonJS module", async (t) => {
    const files = {
      "a.cjs": `const { defineService, table } = require("synod");
        exports.suspect = defineService({ module: __filename, name: "suspect", tables: { rows: table() },
          commands: { a: { keys: "all", execute: () => 1 } } });`,
    };
    assert.deepEqual((await guarded(t, files, ["a"])).outcomes, [{ result: 1 }]);
  });
});
