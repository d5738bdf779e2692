/** Runs the `synod` program as its users do, and takes its processes away again whatever a test does. */
import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const program = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..", "bin", "synod");

export type JsonLine = Readonly<Record<string, unknown>>;

export interface ReplicaEntry {
  readonly id: number;
  readonly pid: number;
  readonly resp: string;
  readonly client: string;
}

/** A running `synod`, whose lines of JSON can be waited for. */
export class SynodProcess {
  readonly child: ChildProcessWithoutNullStreams;
  readonly lines: JsonLine[] = [];
  stdout = "";
  stderr = "";
  readonly #exit: Promise<number | null>;
  #onLine: () => void = () => undefined;
  #ended = false;

  /** `before`: a program with arguments that runs this one, in a network namespace say. */
  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}, before: readonly string[] = []) {
    const [command = process.execPath, ...rest] = [...before, process.execPath, program, ...args];
    // Not in the checkout: a command that is wrongly obeyed leaves nothing there.
    this.child = spawn(command, rest, { env: { ...cleanEnvironment(), ...env }, cwd: tmpdir() });
    this.child.stdin.end();
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    createInterface(this.child.stdout).on("line", (line) => {
      this.stdout += `${line}\n`;
      if (line.startsWith("{")) this.lines.push(JSON.parse(line) as JsonLine);
      this.#onLine();
    });
    this.#exit = new Promise((resolve) => {
      this.child.on("close", (code) => {
        this.#ended = true;
        resolve(code);
        this.#onLine();
      });
    });
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The first line, from `from` on, that fits; fails if the process ends before there is one. */
  async line(fits: (line: JsonLine) => boolean, from = 0): Promise<JsonLine> {
    for (let at = from; ; at++) {
      while (at >= this.lines.length) {
        assert.ok(
          !this.#ended,
          `synod ended without the awaited line; stdout:\n${this.stdout}\nstderr:\n${this.stderr}`,
        );
        await new Promise<void>((resolve) => (this.#onLine = resolve));
      }
      const line = this.lines[at] as JsonLine;
      if (fits(line)) return line;
    }
  }

  /** The replicas of the ready line. */
  async ready(): Promise<readonly ReplicaEntry[]> {
    return (await this.line((line) => line["event"] === "ready"))["replicas"] as readonly ReplicaEntry[];
  }

  /** Resolves with the exit code when the process and its output have ended; null if a signal ended it. */
  exit(): Promise<number | null> {
    return this.#exit;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}

/** Starts `synod`; at the end of the test it is stopped, and killed if it does not stop. */
export function synod(
  test: TestContext,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  before: readonly string[] = [],
): SynodProcess {
  const made = new SynodProcess(args, env, before);
  test.after(async () => {
    if (made.ended) return;
    made.kill("SIGTERM");
    const limit = setTimeout(() => made.kill("SIGKILL"), 15_000);
    await made.exit();
    clearTimeout(limit);
  });
  return made;
}

/** Runs `synod` to its end. */
export async function finished(
  test: TestContext,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; stdout: string; stderr: string; lines: readonly JsonLine[] }> {
  const made = synod(test, args, env);
  const code = await made.exit();
  return { code, stdout: made.stdout, stderr: made.stderr, lines: made.lines };
}

/** A new directory that goes away with the test. Register it before the processes that live in it: hooks run in order. */
export function temporaryDirectory(test: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "synod-test-"));
  test.after(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  return directory;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Waits until a process that is not our child is gone. The test's own time limit bounds the wait. */
export async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SYNOD_")));
}
