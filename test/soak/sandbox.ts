/**
 * A place where a nemesis may do what needs root: cut networks, mount file systems, fill disks. Linux namespaces of its own for
 * processes, mounts and network; when their first process ends, however it ends, the kernel kills what is left in them and
 * takes away every mount, loop device, interface and packet filter. So nothing can be left behind, and nobody outside is
 * touched.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where the sandbox's files are: a directory that holds nothing outside of it, since they are in memory. */
const DIRECTORY_VARIABLE = "SYNOD_SANDBOX";
const unshare = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"];

/** The directory for files, if this process runs in a sandbox. */
export const sandboxDirectory = (): string | null => process.env[DIRECTORY_VARIABLE] ?? null;

/** Why this machine has no sandbox, or null. */
export function sandboxRefusal(): string | null {
  if (process.platform !== "linux") return "namespaces are Linux's";
  if (process.getuid?.() !== 0) return "namespaces need root";
  const probe = spawnSync("unshare", [...unshare, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { encoding: "utf8" });
  if (probe.error !== undefined) return `unshare: ${probe.error.message}`;
  return probe.status === 0 ? null : `unshare: ${probe.stderr.trim()}`;
}

/** Runs this very program with the same arguments in a sandbox; resolves with its exit code. */
export async function runInSandbox(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "synod-sandbox-"));
  const program = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const prepare = 'mount -t tmpfs -o size=8g tmpfs "$0" && mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"';
  let child: ChildProcess | null = null;
  const stop = (): void => void child?.kill("SIGKILL");
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    child = spawn("unshare", [...unshare, "sh", "-c", prepare, directory, ...program], {
      stdio: "inherit",
      env: { ...process.env, [DIRECTORY_VARIABLE]: directory },
    });
    const ended = child;
    return await new Promise((resolve, reject) => {
      ended.on("error", reject);
      ended.on("exit", (code) => resolve(code ?? 3));
    });
  } finally {
    for (const signal of signals) process.off(signal, stop);
    rmSync(directory, { recursive: true, force: true });
  }
}
