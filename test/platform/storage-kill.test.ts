/** The log of a real process that is killed while it writes. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { acquireLock, openFileStorage, SystemScheduler } from "#src/platform/index.js";
import { clusterId, recover } from "./storage.suite.js";

const door = import.meta.resolve("#src/platform/index.js");

/** Appends numbered records from `first` on without end, and says on stdout up to which number all are confirmed. */
function program(directory: string, first: number): string {
  return `
    import { writeSync } from "node:fs";
    import { acquireLock, openFileStorage, SystemScheduler } from ${JSON.stringify(door)};
    const directory = ${JSON.stringify(directory)};
    acquireLock(directory);
    const { log } = openFileStorage({
      directory, clusterId: ${JSON.stringify(clusterId)}, durability: "fsync", scheduler: new SystemScheduler(),
      segmentBytes: 16384,
    });
    let number = ${first};
    const append = () => {
      for (let i = 0; i < 7; i++) {
        log.begin(number).latin1(number + " " + "x".repeat(number % 300));
        log.end();
        number++;
      }
      log.flush();
    };
    log.recover(() => {}, (error, condition) => {
      if (error !== null || condition === "damaged") throw error ?? new Error(condition);
      log.start({
        onFatal: (failure) => { throw failure; },
        onSegment: () => {},
        onDurable: (position) => { writeSync(1, (${first} + position - 1) + "\\n"); append(); append(); },
      });
      append();
    });
  `;
}

test("kill -9 while writing: the log is intact and holds every confirmed record in order, run after run", async () => {
  const directory = mkdtempSync(join(tmpdir(), "synod-kill-"));
  try {
    let first = 1;
    for (let run = 0; run < 8; run++) {
      const child = spawn(process.execPath, ["--input-type=module", "-e", program(directory, first)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let said = "";
      const enough = new Promise<void>((resolve, reject) => {
        child.stdout.setEncoding("latin1").on("data", (text: string) => {
          said += text;
          if (said.split("\n").length > 10 + 13 * run) resolve();
        });
        child.once("exit", (code) => reject(new Error(`run ${run}: the writer ended by itself, code ${code}`)));
      });
      await enough;
      child.kill("SIGKILL");
      // "close" also waits for what the child still had in the pipe.
      await once(child, "close");
      const lines = said.slice(0, said.lastIndexOf("\n")).split("\n");
      const confirmed = Number(lines.at(-1));
      const release = acquireLock(directory);
      const { log } = openFileStorage({ directory, clusterId, durability: "fsync", scheduler: new SystemScheduler() });
      const { records, error, condition } = await recover({ wait: (start) => new Promise(start) }, log);
      release();
      assert.deepEqual({ error, condition, run }, { error: null, condition: "intact", run });
      const numbers = records.map((record) => Number(record.split(" ")[0]));
      const wrong = numbers.findIndex((number, index) => number !== index + 1);
      assert.equal(wrong, -1, `run ${run}: record ${wrong + 1} is ${numbers[wrong]}`);
      assert.ok(numbers.length >= confirmed, `run ${run}: confirmed ${confirmed}, found ${numbers.length}`);
      first = numbers.length + 1;
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
