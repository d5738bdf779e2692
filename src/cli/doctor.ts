import { execFileSync } from "node:child_process";
import { closeSync, existsSync, fdatasyncSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { freemem, totalmem } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { MiB } from "../base/index.js";
import { ExitCode } from "../model/index.js";
import {
  firstTakenAddress,
  holdsCluster,
  listenedAddresses,
  loadCluster,
  RESP_PORT_DEFAULT,
} from "../runtime/index.js";
import type { DoctorFlags } from "./doctor-command.js";
import { messageOf } from "./exit.js";
import { createOutput, painted } from "./output.js";

/** One examined thing. `warn`: it works, but not well or not for long. `fail`: a cluster will not work. */
export interface Finding {
  readonly check: string;
  readonly verdict: "ok" | "warn" | "fail";
  readonly detail: string;
}

/** Examines the machine, one line a check; exit code 1 if any fails. */
export async function runDoctor(flags: DoctorFlags): Promise<number> {
  const output = createOutput(flags.json === true);
  const checks: readonly (readonly [name: string, run: (directory: string) => Result | Promise<Result>])[] = [
    ["node", examineNode],
    ["memory", examineMemory],
    ["open files", examineOpenFiles],
    ["clock", examineClock],
    ["loopback", examineLoopback],
    ["ports", examinePorts],
    ["disk space", examineDiskSpace],
    ["disk sync", examineDiskSync],
  ];
  let failed = false;
  for (const [check, run] of checks) {
    const finding: Finding = { check, ...(await examine(() => run(flags.data))) };
    failed ||= finding.verdict === "fail";
    output.event({ event: "finding", ...finding });
    const colour = ({ ok: "green", warn: "yellow", fail: "red" } as const)[finding.verdict];
    output.line(`${painted(output, colour, finding.verdict.padEnd(4))}  ${check.padEnd(10)}  ${finding.detail}`);
  }
  return failed ? ExitCode.failed : ExitCode.ok;
}

type Result = Omit<Finding, "check">;

/** A check that can't be made has failed: what it would have looked at does not work. */
async function examine(run: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    return { verdict: "fail", detail: messageOf(error) };
  }
}

function examineNode(): Result {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const enough = major > 20 || (major === 20 && minor >= 19);
  return { verdict: enough ? "ok" : "fail", detail: `${process.versions.node} (20.19 or newer is needed)` };
}

function examineMemory(): Result {
  const limit = process.constrainedMemory();
  // Without a limit of its own a process is told a number above what the machine has, or 0.
  const total = limit !== undefined && limit > 0 && limit < totalmem() ? limit : totalmem();
  const detail = `${Math.round(freemem() / MiB)} MiB free of ${Math.round(total / MiB)} MiB`;
  return { verdict: Math.min(freemem(), total) < 512 * MiB ? "warn" : "ok", detail };
}

function examineOpenFiles(): Result {
  if (process.platform === "win32") return { verdict: "ok", detail: "not limited by this system" };
  const text = execFileSync("/bin/sh", ["-c", "ulimit -n"], { encoding: "utf8" }).trim();
  const limit = text === "unlimited" ? Infinity : Number(text);
  const verdict = limit >= 4096 ? "ok" : limit >= 256 ? "warn" : "fail";
  return { verdict, detail: `${text} at most (each client connection takes one; 4096 or more is good)` };
}

/** The wall clock is only proposed as agreed time; what must hold is that it runs, and about as fast as the monotonic one. */
async function examineClock(): Promise<Result> {
  const wallMs = Date.now();
  const monotonicMs = performance.now();
  await setTimeout(200);
  const driftMs = Date.now() - wallMs - (performance.now() - monotonicMs);
  const year = new Date().getUTCFullYear();
  const detail = `${new Date().toISOString()}, ${driftMs.toFixed(1)} ms against the monotonic clock in 200 ms`;
  if (year < 2024) return { verdict: "fail", detail: `${detail}; the date is wrong` };
  return { verdict: Math.abs(driftMs) > 5 ? "warn" : "ok", detail };
}

async function examineLoopback(): Promise<Result> {
  const rounds = 200;
  const server = createServer((socket) => socket.setNoDelay(true).pipe(socket));
  await new Promise<void>((done, failed) => {
    server.once("error", failed);
    server.listen(0, "127.0.0.1", done);
  });
  const { port } = server.address() as { port: number };
  const socket = connect(port, "127.0.0.1").setNoDelay(true);
  try {
    const tookMs: number[] = [];
    for (let i = 0; i < rounds; i++) {
      const startMs = performance.now();
      await roundTrip(socket);
      tookMs.push(performance.now() - startMs);
    }
    const medianMs = median(tookMs);
    return { verdict: medianMs > 1 ? "warn" : "ok", detail: `round trip ${(medianMs * 1000).toFixed(0)} µs (median)` };
  } finally {
    socket.destroy();
    server.close();
  }
}

function roundTrip(socket: Socket): Promise<void> {
  return new Promise((done, failed) => {
    const onError = (error: Error): void => failed(error);
    socket.once("error", onError);
    socket.once("data", () => {
      socket.off("error", onError);
      done();
    });
    socket.write("?");
  });
}

/** The ports of the cluster in `directory`, or those a new one would take. A running cluster holds its own, of course. */
async function examinePorts(directory: string): Promise<Result> {
  const recorded = holdsCluster(directory) ? await loadCluster(directory) : null;
  const addresses =
    recorded === null
      ? [0, 1, 2].map((index) => ({ host: "127.0.0.1", port: RESP_PORT_DEFAULT + index }))
      : recorded.replicas.flatMap(listenedAddresses);
  const named = recorded === null ? "of a new cluster" : `of ${directory}`;
  const taken = await firstTakenAddress(addresses);
  if (taken === null) return { verdict: "ok", detail: `all ${addresses.length} ${named} are free` };
  const which = `${taken.host}:${taken.port} ${named} is taken (${taken.reason})`;
  return { verdict: "warn", detail: `${which}; is a cluster running? otherwise use --port` };
}

/** The nearest directory at or above `directory` that exists: the disk on which it would be made. */
function existing(directory: string): string {
  let path = resolve(directory);
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
  return path;
}

function examineDiskSpace(directory: string): Result {
  const { bavail, bsize } = statfsSync(existing(directory));
  const free = bavail * bsize;
  const verdict = free < 256 * MiB ? "fail" : free < 2048 * MiB ? "warn" : "ok";
  return { verdict, detail: `${Math.round(free / MiB)} MiB free for ${directory}` };
}

/** Writes and syncs as the log does: preallocated bytes, one write and one fdatasync a time. */
function examineDiskSync(directory: string): Result {
  const file = join(existing(directory), `.synod-doctor-${process.pid}`);
  const handle = openSync(file, "wx");
  try {
    const block = Buffer.alloc(4096, 1);
    const count = 64;
    for (let i = 0; i < count; i++) writeSync(handle, block, 0, block.length, i * block.length);
    fdatasyncSync(handle);
    const tookMs: number[] = [];
    for (let i = 0; i < count; i++) {
      const startMs = performance.now();
      writeSync(handle, block, 0, block.length, i * block.length);
      fdatasyncSync(handle);
      tookMs.push(performance.now() - startMs);
    }
    const medianMs = median(tookMs);
    const worstMs = Math.max(...tookMs);
    const detail = `write and fdatasync ${medianMs.toFixed(2)} ms median, ${worstMs.toFixed(2)} ms worst of ${count}`;
    if (medianMs < 0.02) return { verdict: "warn", detail: `${detail}; so fast that this disk may not sync at all` };
    return { verdict: medianMs > 10 ? "warn" : "ok", detail };
  } finally {
    closeSync(handle);
    rmSync(file, { force: true });
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
