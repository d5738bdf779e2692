/** `synod sim --service ./module.js` as programs use it. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { finished } from "./synod-process.js";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

describe("synod sim --service", () => {
  test("a service that differs ends with exit 5, and the failure replays by the command that is printed", async (t) => {
    const flags = ["--service", at("../sim/services/hidden.js"), "--replicas", "3", "--jobs", "1", "--json"];
    const { code, lines } = await finished(t, ["sim", ...flags, "--seeds", "1..2"]);
    assert.equal(code, 5);
    const failure = lines.find(({ passed }) => passed === false);
    assert.equal(failure?.["invariant"], "service-determinism");
    const [program, ...words] = String(failure["replay"]).split(" ");
    assert.match(program ?? "", /\/bin\/synod$/);
    const again = await finished(t, [...words, "--json"]);
    assert.equal(again.code, 5);
    assert.deepEqual(
      [again.lines[0]?.["trace_digest"], again.lines[0]?.["message"]],
      [failure["trace_digest"], failure["message"]],
    );
  });

  for (const [module, message] of [
    [at("../sim/services/misnaming.js"), /simulate names the command \{"name":"withdrawl"\}, there is none/],
    ["./nowhere.js", /service module .*nowhere\.js is not there/],
    [at("../synod/bank.js"), /says nothing about its load; it exports simulate, for instance export const simulate/],
  ] as const) {
    test(`${module.split("/").at(-1)} is refused in one line`, async (t) => {
      const { code, stdout, stderr } = await finished(t, ["sim", "--service", module, "--seed", "1"]);
      assert.deepEqual([code, stdout], [4, ""]);
      assert.match(stderr, message);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
    });
  }
});
