import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type ClusterConfig, type ReplicaAddress, type ReplicaId } from "../../model/index.js";
import { FILE_THREADS_VARIABLE, fileThreadsWanted } from "./file-threads.js";
import type { ReplicaReport } from "./replica-report.js";

/** A replica's process that ignores its stop for this long is killed. */
const STOP_MS_MAX = 10_000;

const program = fileURLToPath(new URL("../../../bin/synod", import.meta.url));

/** Flags of Node that say what the parent runs, not how: a child that got them would run that too. Some have a value. */
const OWN_FLAGS =
  /^--?(?:e|eval|p|print|pe|c|check|i|interactive|test|watch|run|inspect|input-type|env-file|build-snapshot)(?:[=-]|$)/;
const WITH_VALUE = /^(?:-e|--eval|-p|--print|-pe|--watch-path|--input-type|--env-file|--run)$/;

/** The flags of this process's Node that its replicas should have too. */
export function inheritedFlags(flags: readonly string[]): string[] {
  const inherited: string[] = [];
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i] as string;
    if (!OWN_FLAGS.test(flag)) inherited.push(flag);
    else if (WITH_VALUE.test(flag)) i++;
  }
  return inherited;
}

export interface SupervisedReplica {
  readonly address: ReplicaAddress;
  /** The last process started for it; null before the first. */
  readonly pid: number | null;
  readonly alive: boolean;
  /** Alive, and a write went through its port. */
  readonly ready: boolean;
  /** Stopped by `pause`. */
  readonly paused: boolean;
  /** Whom it believes to lead, 0 if unknown or dead. */
  readonly leader: ReplicaId;
}

export interface SupervisorHandlers {
  onReady(id: ReplicaId): void;
  /** The leader in the belief of most replicas changed; never 0. */
  onLeader(leader: ReplicaId): void;
  /** A process ended that was not asked to; `exitCode` is null if a signal ended it. */
  onDeath(id: ReplicaId, reason: string, exitCode: number | null): void;
}

interface Child extends SupervisedReplica {
  pid: number | null;
  alive: boolean;
  ready: boolean;
  paused: boolean;
  leader: ReplicaId;
  process: ChildProcess | null;
  /** What it said before it ended. */
  failure: { readonly exitCode: number; readonly message: string } | null;
}

/**
 * The processes of a local cluster, one a replica. A process that dies stays dead until `start` is called for it again. When
 * this process is gone, even by kill -9, the channels to its children close and they end by themselves.
 */
export class Supervisor {
  readonly #directory: string;
  readonly #logLevel: string;
  readonly #handlers: SupervisorHandlers;
  readonly #fileThreads: number;
  readonly #children: readonly Child[];
  #leader: ReplicaId = 0;
  #stopping = false;

  constructor(directory: string, config: ClusterConfig, logLevel: string, handlers: SupervisorHandlers) {
    this.#directory = directory;
    this.#logLevel = logLevel;
    this.#handlers = handlers;
    this.#fileThreads = fileThreadsWanted(config);
    this.#children = config.replicas.map((address) => ({
      address,
      pid: null,
      alive: false,
      ready: false,
      paused: false,
      leader: 0,
      process: null,
      failure: null,
    }));
  }

  get replicas(): readonly SupervisedReplica[] {
    return this.#children;
  }

  /** The replica that last was believed to lead, 0 before the first. */
  get leader(): ReplicaId {
    return this.#leader;
  }

  replica(id: ReplicaId): SupervisedReplica {
    return this.#child(id);
  }

  start(id: ReplicaId): void {
    const child = this.#child(id);
    if (child.alive || this.#stopping) return;
    const flags = ["replica", String(id), "--data", this.#directory, "--log-level", this.#logLevel, "--supervised"];
    const made = spawn(process.execPath, [...inheritedFlags(process.execArgv), program, ...flags], {
      // No input, no output; the log of operation goes where this process's goes.
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      env: { [FILE_THREADS_VARIABLE]: String(this.#fileThreads), ...process.env },
    });
    Object.assign(child, {
      process: made,
      pid: made.pid ?? null,
      alive: true,
      ready: false,
      paused: false,
      failure: null,
    });
    made.on("message", (report) => this.#onReport(child, report as ReplicaReport));
    made.on("error", (error) => {
      child.failure ??= { exitCode: 1, message: error.message };
      // A process that could not be started has no exit.
      if (made.pid === undefined) this.#onExit(child, null, null);
    });
    made.on("exit", (code, signal) => this.#onExit(child, code, signal));
  }

  /** Kill -9, as a crash would. */
  kill(id: ReplicaId): void {
    this.#child(id).process?.kill("SIGKILL");
  }

  pause(id: ReplicaId): void {
    const child = this.#child(id);
    if (!child.alive || child.process?.kill("SIGSTOP") !== true) return;
    child.paused = true;
  }

  resume(id: ReplicaId): void {
    const child = this.#child(id);
    if (!child.paused) return;
    child.process?.kill("SIGCONT");
    child.paused = false;
  }

  /** Stops every replica gracefully and resolves when the last process is reaped: true if none had to be killed. */
  async stop(): Promise<boolean> {
    this.#stopping = true;
    const ends = this.#children.filter((child) => child.alive).map((child) => this.#stopChild(child));
    return (await Promise.all(ends)).every((graceful) => graceful);
  }

  /** Kills every replica now. */
  abandon(): void {
    this.#stopping = true;
    for (const child of this.#children) child.process?.kill("SIGKILL");
  }

  #stopChild(child: Child): Promise<boolean> {
    return new Promise((resolve) => {
      const { process: running } = child;
      if (running === null) return resolve(true);
      let graceful = true;
      const limit = setTimeout(() => {
        graceful = false;
        running.kill("SIGKILL");
      }, STOP_MS_MAX);
      running.once("exit", () => {
        clearTimeout(limit);
        resolve(graceful);
      });
      running.kill("SIGTERM");
      // A paused process takes no signal before it continues.
      if (child.paused) running.kill("SIGCONT");
    });
  }

  #onReport(child: Child, report: ReplicaReport): void {
    switch (report.kind) {
      case "ready":
        child.ready = true;
        this.#handlers.onReady(child.address.id);
        break;
      case "leader":
        child.leader = report.leader;
        this.#countLeader();
        break;
      case "failed":
        child.failure = { exitCode: report.exitCode, message: report.message };
        break;
    }
  }

  #onExit(child: Child, code: number | null, signal: NodeJS.Signals | null): void {
    if (!child.alive) return;
    Object.assign(child, { alive: false, ready: false, paused: false, leader: 0 });
    if (this.#stopping) return;
    const { failure } = child;
    const reason = failure?.message ?? (signal === null ? `exit code ${code}` : signal);
    this.#handlers.onDeath(child.address.id, reason, failure?.exitCode ?? code);
  }

  /** A leader is one whom a majority of the living names: a replica cut off may name another for a while. */
  #countLeader(): void {
    const votes = new Map<ReplicaId, number>();
    let living = 0;
    for (const child of this.#children) {
      if (!child.alive || child.paused) continue;
      living++;
      if (child.leader !== 0) votes.set(child.leader, (votes.get(child.leader) ?? 0) + 1);
    }
    for (const [leader, count] of votes) {
      if (count * 2 <= living || leader === this.#leader) continue;
      this.#leader = leader;
      this.#handlers.onLeader(leader);
    }
  }

  #child(id: ReplicaId): Child {
    return this.#children.find((child) => child.address.id === id) as Child;
  }
}
