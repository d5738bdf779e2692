/** The unit of systemd: well formed where systemd can say so, and in agreement with the program. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ExitCode, GROUPS_CONFIGURED_MAX } from "#src/model/index.js";
import { fileThreadsNeeded, fileThreadsOf, fileThreadsWanted } from "#src/runtime/index.js";
import { read } from "./markdown.js";

const unit = read("packaging/synod@.service");
const setting = (name: string): string => new RegExp(`^${name}=(.*)$`, "m").exec(unit)?.[1] ?? "";
const analyze = spawnSync("systemd-analyze", ["--version"]).status === 0;

describe("packaging/synod@.service", () => {
  test("gives a graceful stop the time it may take", () => {
    const limitMs = Number(/const STOP_MS_MAX = (\d+);/.exec(read("src/cli/replica.ts"))?.[1]);
    assert.ok(limitMs > 0);
    assert.ok(Number(setting("TimeoutStopSec")) * 1000 > limitMs + 2000, setting("TimeoutStopSec"));
  });

  test("does not start again what will fail again", () => {
    const codes = setting("RestartPreventExitStatus").split(" ").map(Number);
    assert.deepEqual(codes, [ExitCode.usage, ExitCode.fatal, ExitCode.diskFull]);
  });

  test("threads for files are as libuv counts them, and enough where Node's four are", () => {
    const counts = [undefined, "", "7", "0", "many"].map((text) => fileThreadsOf({ UV_THREADPOOL_SIZE: text }));
    assert.deepEqual(counts, [4, 1, 7, 1, 1]);
    for (const groups of [1, 2]) assert.ok(fileThreadsOf({}) >= fileThreadsNeeded({ groups }));
    assert.ok(fileThreadsOf({}) < fileThreadsNeeded({ groups: 3 }));
    for (const groups of [1, 2, 3, 16]) assert.ok(fileThreadsWanted({ groups }) > fileThreadsNeeded({ groups }) - 1);
  });

  test("gives a replica with as many groups as there may be a thread for each log's files", () => {
    const threads = Number(/^Environment=UV_THREADPOOL_SIZE=(\d+)$/m.exec(unit)?.[1]);
    assert.ok(threads >= fileThreadsWanted({ groups: GROUPS_CONFIGURED_MAX }), String(threads));
  });

  test("is what systemd understands", { skip: analyze ? false : "systemd-analyze is not here" }, (t) => {
    const folder = mkdtempSync(join(tmpdir(), "synod-unit-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const verified = (text: string): string => {
      const file = join(folder, "synod@.service");
      writeFileSync(file, text);
      const run = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
      return `${run.status === 0 ? "" : `status ${run.status}\n`}${run.stderr}`;
    };
    // The program and its user are not installed where the tests run.
    const here = unit.replaceAll("/usr/bin/synod", "/bin/true").replace(/^(User|Group)=synod$/gm, "$1=root");
    assert.equal(verified(here), "");
    assert.match(verified(here.replace("PrivateTmp=", "PrivateTemp=")), /PrivateTemp/);
  });
});
