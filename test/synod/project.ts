import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

/** This package, seen from dist/test/synod/. */
export const packageRoot = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const DEADLINE_MS = 60_000;

/** A user's project in a directory of its own: these files, and this package installed. It goes away with the test. */
export function project(t: TestContext, files: Readonly<Record<string, string>>): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "synod-project-")));
  t.after(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));
  mkdirSync(join(directory, "node_modules"));
  symlinkSync(packageRoot, join(directory, "node_modules", "synod"), "dir");
  const manifest = { "package.json": '{"type":"module"}' };
  for (const [name, text] of Object.entries({ ...manifest, ...files })) writeFileSync(join(directory, name), text);
  return directory;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs Node in a project until it ends. `onOutput` sees all of stdout so far, and may kill the process. */
export function run(
  directory: string,
  args: readonly string[],
  onOutput: (stdout: string, kill: (signal: NodeJS.Signals) => void) => void = () => undefined,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: directory, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    const limit = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
    child.stdout.on("data", (chunk) => {
      stdout += String(chunk);
      onOutput(stdout, (signal) => child.kill(signal));
    });
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(limit);
      resolve({ code, stdout, stderr });
    });
  });
}

/** True while a process of this number is there. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
