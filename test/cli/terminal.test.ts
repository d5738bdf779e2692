import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { temporaryDirectory } from "./synod-process.js";

const program = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..", "bin", "synod");

/** `script` of util-linux gives a command a terminal and passes our pipe on as what is typed there. */
const noTerminal = spawnSync("script", ["--version"]).error !== undefined && "there is no program `script` here";

/** A `synod` at a terminal: what it shows can be waited for, keys can be pressed. */
class Terminal {
  readonly #script: ChildProcessWithoutNullStreams;
  readonly exit: Promise<number | null>;
  #text = "";
  #seen = 0;
  #ended = false;
  #onText: () => void = () => undefined;

  constructor(t: TestContext, args: readonly string[]) {
    const command = [process.execPath, program, ...args].map((part) => `'${part}'`).join(" ");
    this.#script = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"]);
    this.#script.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#text += text;
      this.#onText();
    });
    this.exit = new Promise((resolve) => {
      this.#script.on("close", (code) => {
        this.#ended = true;
        this.#onText();
        resolve(code);
      });
    });
    t.after(async () => {
      this.#script.kill("SIGTERM");
      await this.exit;
    });
  }

  press(keys: string): void {
    this.#script.stdin.write(keys);
  }

  /** Waits for text that fits, behind what earlier waits have found. */
  async shows(pattern: RegExp): Promise<string> {
    for (;;) {
      const match = pattern.exec(this.#text.slice(this.#seen));
      if (match !== null) {
        this.#seen += match.index + match[0].length;
        return match[0];
      }
      assert.ok(!this.#ended, `the terminal never showed ${pattern}, but\n${this.#text}`);
      await new Promise<void>((resolve) => (this.#onText = resolve));
    }
  }
}

test("at a terminal: kill the leader under load, restart it, check, quit", { skip: noTerminal }, async (t) => {
  const terminal = new Terminal(t, ["up", "--data", join(temporaryDirectory(t), "data"), "--port", "0"]);
  await terminal.shows(/✔.* 3 replicas ready in \d+\.\d s · leader r[123] · fsync on · data /);
  await terminal.shows(/redis-cli -p \d+/);
  await terminal.shows(/\[k\]ill leader .* \[q\]uit/);
  terminal.press("l");
  await terminal.shows(/load on/);
  terminal.press("k");
  await terminal.shows(/✖.* r[123] killed → r[123] leads after \d+ ms · 0 acknowledged writes lost/);
  terminal.press("r");
  await terminal.shows(/r[123] is back/);
  terminal.press("p");
  await terminal.shows(/r[123] is paused/);
  terminal.press("p");
  await terminal.shows(/r[123] goes on/);
  terminal.press("c");
  await terminal.shows(/✔.* linearizable: [\d,]+ operations, 60 keys · state digests equal on 3\/3/);
  terminal.press("q");
  assert.equal(await terminal.exit, 0);
});
