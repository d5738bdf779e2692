/** `synod lab` as programs use it. */
import assert from "node:assert/strict";
import { readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { finished, type JsonLine, synod, temporaryDirectory } from "./synod-process.js";

describe("synod lab", () => {
  test("lists the experiments", async (t) => {
    const { code, lines } = await finished(t, ["lab", "list", "--json"]);
    assert.equal(code, 0);
    const names = lines.map((line) => line["name"]);
    const ofPsmr = ["psmr-independent", "psmr-dependent", "psmr-mixed", "psmr-skew"];
    const ofOptPsmr = [2, 3, 4, 5].map((figure) => `opt-psmr-fig${figure}`);
    for (const name of [...ofPsmr, ...ofOptPsmr, "multi-ring-merge"]) assert.ok(names.includes(name), name);
    for (const line of lines) assert.ok(String(line["paper"]).length > 10 && String(line["shows"]).length > 10);
    const { stdout } = await finished(t, ["lab", "list"]);
    assert.match(stdout, /^psmr-mixed /m);
  });

  test("runs one, prints the result and writes the report", async (t) => {
    const out = join(temporaryDirectory(t), "reports", "today");
    // Virtual time: the checks do not depend on the machine.
    const args = ["lab", "run", "multi-ring-merge", "--mode", "sim", "--quick", "--out", out, "--json"];
    const { code, lines, stderr } = await finished(t, args);
    assert.equal(code, 0, stderr);
    assert.equal(lines.length, 1);
    const result = lines[0] as JsonLine;
    assert.deepEqual(Object.keys(result), ["experiment", "paper", "config", "machine", "rows", "checks"]);
    assert.equal(result["experiment"], "multi-ring-merge");
    for (const check of result["checks"] as readonly JsonLine[]) assert.equal(check["holds"], true);
    assert.deepEqual(JSON.parse(readFileSync(join(out, "multi-ring-merge.json"), "utf8")), result);
    assert.match(readFileSync(join(out, "multi-ring-merge.html"), "utf8"), /^<!doctype html>/);
    // No progress and no colours where nobody watches.
    assert.equal(stderr, "");
  });

  const cases: readonly (readonly [args: readonly string[], reason: RegExp])[] = [
    [["lab", "run", "psmr"], /no experiment "psmr"; there is psmr-independent/],
    [["lab", "run", "multi-ring-merge", "--mode", "real"], /--mode: multi-ring-merge runs in sim mode only/],
    [["lab", "run", "opt-psmr-fig3", "--mode", "real"], /--mode: opt-psmr-fig3 runs in sim mode only/],
    [["lab", "run"], /missing required argument 'name'/],
    [["lab", "run", "psmr-mixed", "--mode", "dream"], /--mode.*real, sim/],
    [["lab", "run", "psmr-mixed", "--frobnicate"], /unknown option '--frobnicate'/],
    [["lab", "run", "psmr-mixed", "--seed", "x"], /--seed.*whole number/],
    [["lab", "run", "psmr-mixed", "psmr-skew"], /too many arguments/],
    [["lab", "ran"], /unknown command 'ran'/],
    [["lab", "list", "all"], /too many arguments/],
  ];
  for (const [args, reason] of cases) {
    test(`refuses synod ${args.join(" ")}`, async (t) => {
      const { code, stdout, stderr } = await finished(t, args);
      assert.match(stderr, reason);
      assert.match(stderr, /^synod: [^\n]+\n$/);
      assert.equal(stdout, "");
      assert.equal(code, 4);
    });
  }

  test("says what was finished when it is interrupted", async (t) => {
    const directory = temporaryDirectory(t);
    const begun = new Promise<void>((resolve) => {
      const watcher = watch(directory, () => resolve());
      t.after(() => watcher.close());
    });
    const running = synod(t, ["lab", "run", "psmr-skew", "--quick", "--json", "--out", join(directory, "reports")]);
    await begun;
    running.kill("SIGINT");
    assert.equal(await running.exit(), 3);
    assert.match(running.stderr, /^synod: psmr-skew was interrupted; (nothing was finished|finished: .+)\n$/);
    assert.equal(running.stdout, "");
  });

  test("refuses a directory for reports that can't be made", async (t) => {
    const { code, stderr } = await finished(t, ["lab", "run", "psmr-mixed", "--out", join("/dev/null", "x")]);
    assert.equal(code, 4);
    assert.match(stderr, /^synod: --out: .*\n$/);
  });
});
