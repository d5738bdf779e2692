/** The lock of a replica's directory, between real processes. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { acquireLock, lockHolder } from "#src/platform/index.js";

const door = import.meta.resolve("#src/platform/index.js");

/** A process that takes the lock, says "held" or the error, and keeps it until it is ended. */
async function holder(directory: string): Promise<{ child: ChildProcess; said: string }> {
  const program = `
    import { acquireLock } from ${JSON.stringify(door)};
    try { acquireLock(${JSON.stringify(directory)}); console.log("held"); setInterval(() => {}, 1000); }
    catch (error) { console.log(error.code + " " + error.message); }
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  return { child, said: said.toString().trim() };
}

async function inDirectory(body: (directory: string) => Promise<void> | void): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "synod-lock-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

test("a held lock is refused to the same process and to others, until it is released", () =>
  inDirectory(async (directory) => {
    const release = acquireLock(directory);
    assert.equal(lockHolder(directory), process.pid);
    assert.throws(() => acquireLock(directory), { code: "SYNOD_LOCKED" });
    const { said } = await holder(directory);
    assert.equal(said, `SYNOD_LOCKED ${directory} is locked by pid ${process.pid}`);
    release();
    release();
    assert.equal(lockHolder(directory), null);
    assert.deepEqual(readdirSync(directory), []);
    acquireLock(directory)();
  }));

test("a killed holder's lock is taken over, and so is one of a pid given to another process or of another boot", () =>
  inDirectory(async (directory) => {
    const { child, said } = await holder(directory);
    assert.equal(said, "held");
    assert.equal(lockHolder(directory), child.pid);
    assert.throws(() => acquireLock(directory), new RegExp(`locked by pid ${child.pid}`));
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.equal(lockHolder(directory), null);
    acquireLock(directory)();
    assert.deepEqual(readdirSync(directory), [], "the stale file is gone");

    const release = acquireLock(directory);
    const [own] = readdirSync(directory) as [string];
    release();
    const [, pid, start, boot] = own.split("-") as [string, string, string, string];
    writeFileSync(join(directory, `lock-${pid}-${Number(start) - 1}-${boot}`), "");
    writeFileSync(join(directory, `lock-${process.ppid}-${start}-${boot.replace(/./g, "0")}`), "");
    assert.equal(lockHolder(directory), null);
    acquireLock(directory)();
    assert.deepEqual(readdirSync(directory), []);
  }));

test("of many that start at once, at most one gets the lock", () =>
  inDirectory(async (directory) => {
    const all = await Promise.all(Array.from({ length: 4 }, () => holder(directory)));
    const held = all.filter(({ said }) => said === "held");
    for (const { child } of held) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    assert.ok(held.length <= 1, `${held.length} hold it`);
    for (const { said } of all) assert.match(said, /^held$|^SYNOD_LOCKED /);
    acquireLock(directory)();
  }));
