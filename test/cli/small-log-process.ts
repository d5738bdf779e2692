/** Runs `small-log-replica.js` as a process. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ReplicaReading } from "#src/runtime/index.js";
import { SMALL_LOG_BYTES, type SmallLogReplicaLine } from "./small-log-replica.js";

const program = fileURLToPath(new URL("./small-log-replica.js", import.meta.url));

/** One replica's process, from the line that it takes part to its end. */
export class SmallLogReplica {
  readonly #process: ChildProcess;
  readonly #lines: Interface;

  constructor(directory: string, id: number, logBytes = SMALL_LOG_BYTES) {
    const args = [program, directory, String(id), String(logBytes)];
    this.#process = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    assert.ok(this.#process.stdout !== null);
    this.#lines = createInterface(this.#process.stdout);
  }

  /** The next line; rejects if the process ends without one. */
  async line(): Promise<SmallLogReplicaLine> {
    const ended = once(this.#process, "exit").then(([code]) => {
      throw new Error(`the process has ended, with code ${String(code)}`);
    });
    const [line] = (await Promise.race([once(this.#lines, "line"), ended])) as [string];
    return JSON.parse(line) as SmallLogReplicaLine;
  }

  async stop(): Promise<ReplicaReading> {
    const ended = once(this.#process, "exit");
    const said = this.line();
    this.#process.kill("SIGTERM");
    const reading = await said;
    const [code] = (await ended) as [number | null];
    assert.equal(code, 0);
    assert.ok(reading !== null);
    return reading;
  }

  /** Kill -9; resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }
}
