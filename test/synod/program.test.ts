import assert from "node:assert/strict";
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect } from "synod";
import { finished, synod } from "../cli/synod-process.js";
import { bank } from "./bank.js";
import { project } from "./project.js";

const bankFile = fileURLToPath(new URL("./bank.js", import.meta.url));

describe("synod up --service ./module.js", () => {
  test("runs the service, and again from its directory without being told which", async (t) => {
    const data = join(project(t, {}), "data");
    const flags = ["--data", data, "--port", "0", "--json", "--log-level", "error"];
    const first = synod(t, ["up", "--service", bankFile, "--replicas", "3", "--durability", "os", ...flags]);
    const replicas = await first.ready();
    assert.deepEqual(
      replicas.map(({ resp }) => resp),
      [null, null, null],
    );
    const client = await connect({ addresses: replicas.map((replica) => replica.client), service: bank });
    assert.equal(await client.deposit({ to: "ana", amount: 3 }), 3);

    // A killed replica comes back by the program, finds the module by what was recorded, and catches up.
    process.kill(replicas[0]?.pid ?? 0, "SIGKILL");
    await first.line((line) => line["event"] === "died");
    assert.equal(await client.deposit({ to: "ana", amount: 3 }), 6);
    await synod(t, ["replica", "1", "--data", data, "--json", "--log-level", "error"]).ready();
    await client.close();
    first.kill("SIGTERM");
    assert.equal(await first.exit(), 0);
  });

  test("refuses what is no service with exit code 4 and one line", async (t) => {
    const directory = project(t, {
      "empty.js": "export const nothing = 1;",
      "clock.js": "export const started = Date.now();",
      "text.txt": "",
    });
    const cases: readonly (readonly [string, RegExp])[] = [
      ["nothing.js", /service module .*nothing\.js is not there/],
      ["text.txt", /is no module: its name ends with \.js/],
      ["empty.js", /empty\.js exports nothing that defineService made/],
      ["clock.js", /clock\.js: Date\.now\(\) differs between replicas; use ctx\.time/],
    ];
    for (const [index, [name, reason]] of cases.entries()) {
      const flags = [
        "--data",
        join(directory, `data-${index}`),
        "--port",
        "0",
        "--replicas",
        "1",
        "--log-level",
        "silent",
      ];
      const { code, stderr } = await finished(t, ["up", "--service", join(directory, name), ...flags]);
      assert.equal(code, 4, stderr);
      assert.match(stderr, reason);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
      assert.ok(!existsSync(join(directory, `data-${index}`)), `${name} left a directory behind`);
    }
    const { code, stderr } = await finished(t, ["up", "--service", "banana"]);
    assert.equal(code, 4);
    assert.match(stderr, /service "banana" is unknown; there is .*, or a module: \.\/service\.js/);
  });

  test("keeps a directory to the module it was created with", async (t) => {
    const directory = project(t, {});
    copyFileSync(bankFile, join(directory, "other.js"));
    const data = join(directory, "data");
    const flags = ["--data", data, "--port", "0", "--replicas", "1", "--json", "--log-level", "silent"];
    const first = synod(t, ["up", "--service", bankFile, ...flags]);
    await first.ready();
    first.kill("SIGTERM");
    assert.equal(await first.exit(), 0);
    const { code, stderr } = await finished(t, ["up", "--service", join(directory, "other.js"), ...flags]);
    assert.equal(code, 4);
    assert.match(stderr, /was created with service .*bank\.js, not .*other\.js/);
  });
});
