import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { sandboxRefusal } from "./sandbox.js";

const program = fileURLToPath(new URL("index.js", import.meta.url));

/** What there is of a sandbox outside of it. */
function tracesOf(directory: string): string[] {
  const found: string[] = [];
  if (existsSync(directory)) found.push(directory);
  if (readFileSync("/proc/mounts", "utf8").includes(directory)) found.push("a mount");
  for (const name of readdirSync("/sys/block").filter((block) => block.startsWith("loop"))) {
    const backing = `/sys/block/${name}/loop/backing_file`;
    if (existsSync(backing) && readFileSync(backing, "utf8").includes(directory)) found.push(name);
  }
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/environ`, "utf8").includes(directory)) found.push(`process ${pid}`);
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

const refusal = sandboxRefusal();

test(
  "a nemesis that is interrupted while packets are dropped leaves nothing behind",
  { skip: refusal ?? false },
  async (t) => {
    const args = ["nemesis", "--only", "isolate", "--minutes", "2"];
    const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "ignore", "pipe"] });
    t.after(() => child.kill("SIGKILL"));
    let said = "";
    let directory: string | undefined;
    for await (const line of createInterface(child.stderr)) {
      said += `${line}\n`;
      directory ??= /sandbox (\S+)$/.exec(line)?.[1];
      // Those who started without machines have nothing to leave behind.
      if (line.includes("isolate (r")) break;
    }
    assert(directory !== undefined && tracesOf(directory).length > 0, said);
    const exited = new Promise((resolve) => child.on("exit", resolve));
    child.kill("SIGTERM");
    await exited;
    // The kernel takes down what was in the namespaces after their first process has ended; the test's own limit bounds this.
    while (tracesOf(directory).length > 0) await setTimeout(50);
  },
);
