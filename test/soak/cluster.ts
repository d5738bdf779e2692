/** A local cluster of real processes whose members can be killed, stopped, emptied and brought back. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { gone, type JsonLine, type ReplicaEntry, SynodProcess } from "../cli/synod-process.js";
import type { Members, MemberStatus } from "./members.js";

export class RealCluster implements Members {
  readonly directory: string;
  readonly #up: SynodProcess;
  #entries: readonly ReplicaEntry[] = [];
  readonly #pids = new Map<number, number>();
  /** Replicas started again by `synod replica`. */
  readonly #restarted = new Map<number, SynodProcess>();
  readonly stopped = new Set<number>();
  readonly dead = new Set<number>();

  private constructor(directory: string, args: readonly string[]) {
    this.directory = directory;
    this.#up = new SynodProcess(["up", "--data", directory, "--json", ...args]);
  }

  static async start(directory: string, args: readonly string[] = ["--port", "0"]): Promise<RealCluster> {
    const cluster = new RealCluster(directory, args);
    cluster.#entries = await cluster.#up.ready();
    for (const entry of cluster.#entries) cluster.#pids.set(entry.id, entry.pid);
    return cluster;
  }

  get ids(): readonly number[] {
    return this.#entries.map((entry) => entry.id);
  }

  get respAddresses(): readonly string[] {
    return this.#entries.map((entry) => entry.resp).filter((address) => typeof address === "string");
  }

  get clientAddresses(): readonly string[] {
    return this.#entries.map((entry) => entry.client);
  }

  home(id: number): string {
    return join(this.directory, `replica-${id}`);
  }

  pid(id: number): number {
    const pid = this.#pids.get(id);
    assert(pid !== undefined, `replica ${id} exists`);
    return pid;
  }

  entry(id: number): ReplicaEntry {
    const entry = this.#entries.find((candidate) => candidate.id === id);
    assert(entry !== undefined, `replica ${id} exists`);
    return entry;
  }

  async kill(id: number): Promise<void> {
    const pid = this.pid(id);
    process.kill(pid, "SIGKILL");
    this.dead.add(id);
    this.stopped.delete(id);
    await gone(pid);
  }

  stop(id: number): void {
    process.kill(this.pid(id), "SIGSTOP");
    this.stopped.add(id);
  }

  continue(id: number): void {
    process.kill(this.pid(id), "SIGCONT");
    this.stopped.delete(id);
  }

  /** Deletes everything a dead replica has on disk, its identity included. */
  empty(id: number): void {
    assert(this.dead.has(id), `replica ${id} is dead`);
    rmSync(this.home(id), { recursive: true, force: true });
  }

  /** Starts a dead replica again; resolves when it is ready, which needs a quorum. */
  async restart(id: number): Promise<void> {
    const old = this.#restarted.get(id);
    if (old !== undefined) await old.exit();
    for (;;) {
      const made = new SynodProcess(["replica", String(id), "--data", this.directory, "--json"]);
      this.#restarted.set(id, made);
      // The old process may hold its lock until the kernel has taken it down.
      const ready = made.ready().then(
        (entries) => entries,
        () => null,
      );
      const pid = made.child.pid;
      if (pid !== undefined) this.#pids.set(id, pid);
      this.dead.delete(id);
      const entries = await ready;
      const entry = entries?.find((candidate) => candidate.id === id);
      if (entry !== undefined) {
        this.#pids.set(id, entry.pid);
        return;
      }
      assert.match(made.stderr, /locked by pid/, `replica ${id} did not come back:\n${made.stderr}`);
    }
  }

  async status(): Promise<{ readonly replicas: readonly MemberStatus[] } | null> {
    const asked = new SynodProcess(["status", "--data", this.directory, "--json"]);
    const code = await asked.exit();
    return code === 0 ? (asked.lines[0] as unknown as { replicas: readonly MemberStatus[] }) : null;
  }

  async leader(): Promise<number> {
    for (;;) {
      const status = await this.status();
      const leader = status?.replicas.find((replica) => replica.role === "leader");
      if (leader !== undefined) return leader.id;
    }
  }

  get upLines(): readonly JsonLine[] {
    return this.#up.lines;
  }

  /** Stops everything this started and resolves when nothing of it is left. */
  async close(): Promise<number | null> {
    for (const id of this.stopped) this.continue(id);
    for (const made of this.#restarted.values()) if (!made.ended) made.kill("SIGTERM");
    this.#up.kill("SIGTERM");
    const limit = setTimeout(() => {
      for (const made of [...this.#restarted.values(), this.#up]) if (!made.ended) made.kill("SIGKILL");
    }, 20_000);
    for (const made of this.#restarted.values()) await made.exit();
    const code = await this.#up.exit();
    clearTimeout(limit);
    return code;
  }
}
