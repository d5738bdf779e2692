/**
 * Replicas on machines of their own, as near as one machine comes to that: each in a network namespace with an address, joined
 * by a bridge, and with an ext4 file system in an image file. Only inside a sandbox, which takes all of it away again.
 */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type ReplicaEntry, SynodProcess } from "../cli/synod-process.js";
import { delay } from "./delay.js";
import type { Members, MemberStatus } from "./members.js";

const run = promisify(execFile);
const REPLICAS = [1, 2, 3];
/** Size of a replica's file system: its log and checkpoints with room to spare. The image has holes where nothing is. */
const IMAGE_MIB = 640;
/** Copies of an image that may differ from it, since the kernel wrote meanwhile, before the power is not cut after all. */
const COPIES_MAX = 20;

const hostOf = (id: number): string => `10.213.0.${id}`;
const spaceOf = (id: number): string => `machine-${id}`;
const ip = (...args: readonly string[]): void => void execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });

/** Why this sandbox can't have machines, or null. */
export function machinesRefusal(): string | null {
  try {
    wire();
    filter(1, ["-A", "INPUT", "-s", hostOf(2), "-m", "statistic", "--mode", "random", "--probability", "0.5"]);
    filter(1, ["-F"]);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function wire(): void {
  ip("link", "add", "name", "synod", "type", "bridge");
  ip("address", "add", `${hostOf(254)}/24`, "dev", "synod");
  ip("link", "set", "synod", "up");
  for (const id of REPLICAS) {
    ip("netns", "add", spaceOf(id));
    ip("link", "add", "name", `cable-${id}`, "type", "veth", "peer", "name", "eth0", "netns", spaceOf(id));
    ip("link", "set", `cable-${id}`, "master", "synod", "up");
    ip("-n", spaceOf(id), "link", "set", "lo", "up");
    ip("-n", spaceOf(id), "address", "add", `${hostOf(id)}/24`, "dev", "eth0");
    ip("-n", spaceOf(id), "link", "set", "eth0", "up");
  }
}

function filter(id: number, rule: readonly string[]): void {
  execFileSync("ip", ["netns", "exec", spaceOf(id), "iptables", ...rule], { stdio: ["ignore", "ignore", "pipe"] });
}

export class Machines implements Members {
  readonly ids = REPLICAS;
  readonly #directory: string;
  readonly #entries = new Map<number, ReplicaEntry>();
  readonly #processes = new Map<number, SynodProcess>();
  readonly #stopped = new Set<number>();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** `machinesRefusal` has joined them. */
  /** `args`: of the cluster, as `config new` takes them. */
  static async start(directory: string, args: readonly string[]): Promise<Machines> {
    const machines = new Machines(directory);
    const file = join(directory, "cluster.json");
    const hosts = REPLICAS.flatMap((id) => ["--host", hostOf(id)]);
    await succeed(["config", "new", "--cluster", file, ...args, ...hosts]);
    // No certificates: the sandbox is a network of its own, and what they do is tested elsewhere.
    const { security: _, ...open } = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    writeFileSync(file, JSON.stringify(open));
    for (const id of REPLICAS) {
      const image = machines.#image(id);
      await run("truncate", ["-s", `${IMAGE_MIB}M`, image]);
      // No blocks are kept for root, who is the one that fills the disk.
      await run("mkfs.ext4", ["-q", "-m", "0", image]);
      await machines.#mount(id, image);
      const data = machines.#data(id);
      await succeed(["init", String(id), "--cluster", file, "--data", data, "--insecure-network"]);
    }
    await Promise.all(REPLICAS.map((id) => machines.restart(id)));
    return machines;
  }

  get respAddresses(): readonly string[] {
    return this.ids.map((id) => this.#entry(id).resp).filter((address) => typeof address === "string");
  }

  get clientAddresses(): readonly string[] {
    return this.ids.map((id) => this.#entry(id).client);
  }

  home(id: number): string {
    return join(this.#data(id), `replica-${id}`);
  }

  async kill(id: number): Promise<void> {
    const running = this.#process(id);
    running.kill("SIGKILL");
    this.#stopped.delete(id);
    await running.exit();
  }

  stop(id: number): void {
    this.#process(id).kill("SIGSTOP");
    this.#stopped.add(id);
  }

  continue(id: number): void {
    this.#process(id).kill("SIGCONT");
    this.#stopped.delete(id);
  }

  async restart(id: number): Promise<void> {
    const made = new SynodProcess(
      ["replica", String(id), "--data", this.#data(id), "--json", "--insecure-network"],
      {},
      ["ip", "netns", "exec", spaceOf(id)],
    );
    this.#processes.set(id, made);
    const entry = (await made.ready()).find((candidate) => candidate.id === id);
    assert(entry !== undefined, `replica ${id} says who it is`);
    this.#entries.set(id, entry);
  }

  async leader(): Promise<number> {
    for (;;) {
      const leader = (await this.status())?.replicas.find((replica) => replica.role === "leader");
      if (leader !== undefined) return leader.id;
    }
  }

  async status(): Promise<{ readonly replicas: readonly MemberStatus[] } | null> {
    for (const address of this.clientAddresses) {
      const asked = new SynodProcess(["status", "--address", address, "--json"]);
      if ((await asked.exit()) === 0) return asked.lines[0] as unknown as { replicas: readonly MemberStatus[] };
    }
    return null;
  }

  async close(): Promise<number | null> {
    for (const id of this.#stopped) this.continue(id);
    let worst: number | null = 0;
    for (const running of this.#processes.values()) if (!running.ended) running.kill("SIGTERM");
    for (const running of this.#processes.values()) {
      const limit = setTimeout(() => running.kill("SIGKILL"), 20_000);
      const code = await running.exit();
      clearTimeout(limit);
      if (code !== 0 && worst === 0) worst = code;
    }
    return worst;
  }

  /** From now on `id` gets no packet that `from` sends, or that share of them. */
  drop(id: number, from: number, share = 1): void {
    const chance = share < 1 ? ["-m", "statistic", "--mode", "random", "--probability", String(share)] : [];
    filter(id, ["-A", "INPUT", "-s", hostOf(from), ...chance, "-j", "DROP"]);
  }

  /** All packets arrive again. */
  mend(): void {
    for (const id of this.ids) filter(id, ["-F"]);
  }

  /**
   * Fills the disk and leaves it full until the replica has stopped for that, `waitMs` at most, then gives the room back.
   * Resolves with its exit code, or null if it did not need any room meanwhile.
   */
  async fillDisk(id: number, waitMs: number): Promise<number | null> {
    const ballast = join(this.#data(id), "ballast");
    // Reserved and not written: memory stays free.
    await run("sh", ["-c", 'for mib in 512 128 32 8 2 1; do fallocate -l "${mib}M" "$0.$mib"; done', ballast]).catch(
      () => undefined,
    );
    await run("dd", ["if=/dev/zero", `of=${ballast}`, "bs=4k"]).catch(() => undefined);
    const running = this.#process(id);
    const code = await Promise.race([running.exit(), delay(waitMs).then(() => undefined)]);
    for (const name of readdirSync(this.#data(id))) if (name.startsWith("ballast")) rmSync(join(this.#data(id), name));
    if (code === undefined && !running.ended) return null;
    return running.exit();
  }

  /**
   * The power of these machines goes at one moment: what is in the image files then is all that is left. What replicas
   * wrote and did not sync is in the kernel's memory, not in the image. A copy that equals the image after it was made is
   * the image of a moment. The replicas are dead afterwards, and their file systems are the copies.
   */
  async cutPower(ids: readonly number[]): Promise<void> {
    for (const id of ids) this.stop(id);
    await Promise.all(
      ids.map(async (id) => {
        const copy = `${this.#image(id)}.copy`;
        for (let copies = 0; ; copies++) {
          assert(copies < COPIES_MAX, `the image of replica ${id} stood still for a moment`);
          await run("cp", ["--sparse=always", this.#image(id), copy]);
          const same = await run("cmp", ["-s", this.#image(id), copy]).then(
            () => true,
            () => false,
          );
          if (same) break;
        }
      }),
    );
    for (const id of ids) await this.kill(id);
    for (const id of ids) {
      await run("umount", [this.#data(id)]);
      renameSync(`${this.#image(id)}.copy`, this.#image(id));
      await this.#mount(id, this.#image(id));
    }
  }

  async #mount(id: number, image: string): Promise<void> {
    const data = this.#data(id);
    mkdirSync(data, { recursive: true });
    // The file system commits by itself as rarely as can be: what nobody has synced is to be lost when the power goes.
    await run("mount", ["-o", "loop,commit=300", image, data]);
  }

  #image(id: number): string {
    return join(this.#directory, `image-${id}`);
  }

  #data(id: number): string {
    return join(this.#directory, `data-${id}`);
  }

  #entry(id: number): ReplicaEntry {
    const entry = this.#entries.get(id);
    assert(entry !== undefined, `replica ${id} was ready once`);
    return entry;
  }

  #process(id: number): SynodProcess {
    const running = this.#processes.get(id);
    assert(running !== undefined, `replica ${id} was started`);
    return running;
  }
}

async function succeed(args: readonly string[]): Promise<void> {
  const made = new SynodProcess(args);
  assert.equal(await made.exit(), 0, `synod ${args.join(" ")}: ${made.stderr}`);
}
