// Programs that a benchmark runs: found by name, started with their output kept, ended with the benchmark whatever happens.
import { spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** What this benchmark has started and what has not ended yet. */
const running = new Set();
const directories = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(3));

/** The full path of a program, or null if it is not installed. Servers lie where only administrators look, too. */
export function findProgram(name) {
  const places = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  for (const place of places) {
    try {
      accessSync(join(place, name), constants.X_OK);
      return join(place, name);
    } catch {
      // Not there.
    }
  }
  return null;
}

/** Ends the benchmark unless every program is there, naming those that are not and what brings them. */
export function requirePrograms(packages) {
  const missing = Object.keys(packages).filter((name) => findProgram(name) === null);
  if (missing.length === 0) return;
  const wanted = [...new Set(missing.map((name) => packages[name]))].join(" ");
  console.error(`not installed: ${missing.join(", ")} (Debian: apt-get install ${wanted})`);
  process.exit(1);
}

/** Type of a file system in memory, in which a sync costs nothing. */
const TMPFS_MAGIC = 0x01021994;

/** A directory that goes away with the benchmark: where temporary files lie, or here if that is memory and no disk. */
export function scratchDirectory() {
  const place = statfsSync(tmpdir()).type === TMPFS_MAGIC ? process.cwd() : tmpdir();
  const directory = mkdtempSync(join(place, "synod-bench-"));
  directories.add(directory);
  return directory;
}

export function removeDirectory(directory) {
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  directories.delete(directory);
}

/** Starts a program. `lines` receives its output line by line; the last of what it says on stderr is kept for errors. */
export function start(program, args, lines = () => {}) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let complaint = "";
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) lines(line);
  });
  child.stderr.setEncoding("utf8").on("data", (text) => (complaint = (complaint + text).slice(-4000)));
  const ended = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      running.delete(child);
      resolve(code);
    });
  });
  ended.catch(() => running.delete(child));
  return { child, ended, complaint: () => complaint };
}

/** Runs a program to its end and resolves with what it printed, line by line. Rejects if it ends with another code. */
export async function run(program, args, codes = [0]) {
  const output = [];
  const { ended, complaint } = start(program, args, (line) => output.push(line));
  const code = await ended;
  if (!codes.includes(code)) throw new Error(`${program} ${args.join(" ")}\nended with ${code}: ${complaint()}`);
  return output;
}

/** Ends a program that was started: politely, and after five seconds not. */
export async function stop({ child, ended }, signal = "SIGTERM") {
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  await ended.catch(() => undefined);
  clearTimeout(timer);
}

/** Ports that nobody listens on just now. */
export async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise((resolve, reject) => {
        server.on("error", reject).listen(0, "127.0.0.1", () => resolve(server));
      });
    }),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** Calls `attempt` until it resolves to something true; rejects after `ms`. */
export async function eventually(what, ms, attempt) {
  const end = performance.now() + ms;
  for (;;) {
    const result = await attempt().catch(() => null);
    if (result) return result;
    if (performance.now() > end) throw new Error(`${what} took longer than ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A field of /proc/PID/status in MiB, or NaN where there is no such file. */
export function memoryMiB(pid, field = "VmRSS") {
  try {
    const line = readFileSync(`/proc/${pid}/status`, "utf8").match(new RegExp(`${field}:\\s+(\\d+) kB`));
    return Number(line?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}
