import { MessagePort, Worker } from "node:worker_threads";
import { assert } from "../../base/index.js";
import { type ClusterConfig, ExitCode, groupName, membersOf, type ReplicaId } from "../../model/index.js";
import type { EventLog, Scheduler } from "../../platform/index.js";
import { type BellsPart, createBellsParts, createMemberParts, type MemberParts, ThreadBells } from "../groups/index.js";
import type { Replica, ReplicaOptions, ReplicaStatus } from "../replica/api.js";
import type { ReplicaMetrics } from "../replica/metrics.js";
import type { FromMemberThread, MemberBeginning, MemberThreadData, ToMemberThread } from "./member-message.js";
import { openMember, type OpenedMember } from "./open-member.js";
import type { MemberReading, ReplicaReader } from "./reading.js";
import type { ReplicaSecurity } from "./security.js";
import { failureOf, type FromReplicaThread } from "./thread-message.js";

/** A member that has not stopped after this time, in ms, is ended by force: its log is complete at every moment. */
const MEMBER_STOP_MS_MAX = 4000;

export interface ReplicaMembersInit {
  readonly self: ReplicaId;
  /** The cluster's directory. The caller holds the replica's lock. */
  readonly directory: string;
  readonly config: ClusterConfig;
  readonly options: Partial<ReplicaOptions>;
  readonly security: ReplicaSecurity;
  /** Of member 0. */
  readonly metrics: ReplicaMetrics;
  readonly reader: ReplicaReader;
  readonly scheduler: Scheduler;
  readonly events: EventLog;
  onFailed(failure: Extract<FromReplicaThread, { readonly kind: "failed" }>): void;
  /** All members take part, for the first time. */
  onRecovered(): void;
  /** The replica believed to lead g_all; 0 if none is known. */
  onLeader(leader: ReplicaId): void;
}

/**
 * The members of a replica with several groups: member 0, which orders g_all, in this thread, beside the gateways; each other
 * in a thread of its own. They live and die together: what one can't survive ends the replica, and what one has to begin anew
 * with is a new life of all, with new shared memory, as after a crash.
 */
export class ReplicaMembers {
  readonly #init: ReplicaMembersInit;
  #life: Life;
  #recovered = false;
  #stopping = false;
  /** What ends when the present life does. */
  #onEnded: (() => void) | null = null;

  constructor(init: ReplicaMembersInit) {
    this.#init = init;
    this.#life = this.#begin();
  }

  /** That of g_all; null while it is being opened. */
  status(): ReplicaStatus | null {
    return this.#life.status();
  }

  /** All members, that of g_all first; null if one can't answer yet. Pending for as long as a thread is stuck. */
  read(): Promise<readonly MemberReading[] | null> {
    return this.#life.read();
  }

  /** Has the other threads read certificates and passwords anew. */
  reload(): void {
    this.#life.tell({ kind: "reload" });
  }

  /** Hands leadership over, closes ports and logs, then calls back. */
  stop(done: () => void): void {
    assert(!this.#stopping, "the members are stopped once");
    this.#stopping = true;
    this.#end(done);
  }

  #begin(): Life {
    return new Life(this.#init, {
      onFailed: (failure) => this.#init.onFailed(failure),
      onRestart: (reason) => this.#restart(reason),
      onRecovered: () => {
        if (!this.#recovered) this.#init.onRecovered();
        this.#recovered = true;
      },
    });
  }

  #restart(reason: string): void {
    if (this.#stopping || this.#onEnded !== null) return;
    this.#init.events.warn("members begin anew", { reason });
    this.#end(() => (this.#life = this.#begin()));
  }

  /** Ends the present life. A stop that comes while it ends for another one takes that one's place. */
  #end(ended: () => void): void {
    const ending = this.#onEnded !== null;
    this.#onEnded = ended;
    if (ending) return;
    this.#life.end(() => {
      const next = this.#onEnded;
      this.#onEnded = null;
      next?.();
    });
  }
}

interface LifeHandlers {
  onFailed: ReplicaMembersInit["onFailed"];
  onRestart(reason: string): void;
  /** All members take part. */
  onRecovered(): void;
}

/** All members from a common start to a common end. */
class Life {
  readonly #init: ReplicaMembersInit;
  readonly #handlers: LifeHandlers;
  readonly #threads: readonly Thread[];
  readonly #bells: ThreadBells;
  /** Member 0, in this thread. */
  #opened: OpenedMember | null = null;
  #replica: Replica | null = null;
  /** What member 1 has shared. */
  #beginning: MemberBeginning | null = null;
  #ending = false;
  readonly #opening: Promise<void>;
  readonly #recovered = new Set<number>();
  #serial = 0;

  constructor(init: ReplicaMembersInit, handlers: LifeHandlers) {
    this.#init = init;
    this.#handlers = handlers;
    const { groups } = init.config;
    const parts = createMemberParts(groups);
    const [own, ...others] = createBellsParts(membersOf(init.config)) as [BellsPart, ...BellsPart[]];
    this.#bells = new ThreadBells(own);
    this.#threads = others.map((bells) => this.#start(parts, bells));
    this.#thread(1).tell({ kind: "begin", beginning: null });
    this.#opening = this.#open(parts).catch((error: unknown) => this.#failed(failureOf(error, ExitCode.failed)));
  }

  status(): ReplicaStatus | null {
    return this.#replica?.status() ?? null;
  }

  async read(): Promise<readonly MemberReading[] | null> {
    const status = this.status();
    if (status === null) return null;
    const serial = ++this.#serial;
    const own = this.#init.reader.read(status, this.#recovered.has(0));
    const all = await Promise.all(this.#threads.map((thread) => thread.read(serial)));
    return all.every((reading) => reading !== null) ? [own, ...all] : null;
  }

  tell(message: ToMemberThread): void {
    for (const thread of this.#threads) thread.tell(message);
  }

  end(done: () => void): void {
    this.#ending = true;
    const own = this.#opening.then(
      () =>
        new Promise<void>((stopped) => {
          if (this.#replica !== null) this.#replica.stop(stopped);
          else if (this.#opened !== null) this.#opened.close(stopped);
          else stopped();
        }),
    );
    void Promise.all([own, ...this.#threads.map((thread) => thread.stop())]).then(() => {
      this.#bells.close();
      done();
    });
  }

  async #open(parts: MemberParts): Promise<void> {
    const { self, directory, config, options, security, metrics, scheduler, events } = this.#init;
    const opened = await openMember({
      self,
      member: 0,
      directory,
      config,
      service: null,
      options,
      parts,
      bells: this.#bells,
      security,
      metrics,
      scheduler,
      events: labelled(events, 0),
      onFatal: (error) => this.#failed(failureOf(error, ExitCode.fatal)),
      onRecovered: () => this.#onRecovered(0),
      onLeader: (leader) => this.#init.onLeader(leader),
      onShared: () => assert(false, "member 1 shares the service"),
      onRestart: (reason) => this.#onRestart(reason),
    });
    this.#opened = opened;
    this.#beginOwn();
  }

  /** Member 0 begins when its ports are open and member 1 has said from what. */
  #beginOwn(): void {
    if (this.#opened === null || this.#beginning === null || this.#ending) return;
    this.#replica = this.#opened.begin(this.#beginning);
  }

  #start(parts: MemberParts, bells: BellsPart): Thread {
    const { self, directory, config, options, events } = this.#init;
    const { member } = bells;
    const log = labelled(events, member);
    return new Thread({ self, member, directory, config, options, parts, bells }, (message) => {
      switch (message.kind) {
        case "log":
          log[message.level](message.event, message.fields);
          break;
        case "shared":
          this.#share(message.beginning);
          break;
        case "recovered":
          this.#onRecovered(member);
          break;
        case "restart":
          this.#onRestart(message.reason);
          break;
        case "failed":
          this.#failed(message);
          break;
        case "reading":
        case "stopped":
          // The thread's own business.
          break;
      }
    });
  }

  /** Member 1 has the state: the others begin from it. */
  #share(beginning: MemberBeginning): void {
    for (const thread of this.#threads.slice(1)) thread.tell({ kind: "begin", beginning });
    this.#beginning = beginning;
    this.#beginOwn();
  }

  #onRecovered(member: number): void {
    this.#recovered.add(member);
    if (!this.#ending && this.#recovered.size === membersOf(this.#init.config)) this.#handlers.onRecovered();
  }

  #onRestart(reason: string): void {
    // Not inside the call of a member, which is in the middle of a step.
    setImmediate(() => {
      if (!this.#ending) this.#handlers.onRestart(reason);
    });
  }

  #failed(failure: Extract<FromReplicaThread, { readonly kind: "failed" }>): void {
    // What happens to a member that is being stopped is no failure of the replica: all of it is on disk.
    if (!this.#ending) this.#handlers.onFailed(failure);
  }

  #thread(member: number): Thread {
    const thread = this.#threads[member - 1];
    assert(thread !== undefined, `there is no member ${member}`);
    return thread;
  }
}

/** The thread of a member, seen from the one that started it. */
class Thread {
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #stopping = false;
  /** The question that was asked last; there is one at a time. */
  #asked: { readonly serial: number; resolve(reading: MemberReading | null): void } | null = null;

  constructor(data: MemberThreadData, onMessage: (message: FromMemberThread) => void) {
    const { member, bells, self } = data;
    this.#worker = new Worker(new URL("./member-thread-main.js", import.meta.url), {
      workerData: data,
      transferList: bells.ports.filter((port) => port instanceof MessagePort),
      name: `replica-${self}-${groupName(member)}`,
    });
    this.#worker.on("message", (message: FromMemberThread) => {
      if (message.kind === "reading" && this.#asked?.serial === message.serial) this.#answer(message.reading);
      else onMessage(message);
    });
    this.#worker.on("error", (error) => onMessage(failed(error)));
    this.#ended = new Promise((resolve) => {
      this.#worker.on("exit", () => {
        this.#answer(null);
        resolve();
        if (!this.#stopping) onMessage(failed(new Error(`the thread of ${groupName(member)} has ended by itself`)));
      });
    });
  }

  tell(message: ToMemberThread): void {
    this.#worker.postMessage(message);
  }

  read(serial: number): Promise<MemberReading | null> {
    this.#answer(null);
    return new Promise((resolve) => {
      this.#asked = { serial, resolve };
      this.tell({ kind: "read", serial });
    });
  }

  /** Resolves when the thread is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.tell({ kind: "stop" });
    const limit = setTimeout(() => void this.#worker.terminate(), MEMBER_STOP_MS_MAX);
    await this.#ended;
    clearTimeout(limit);
  }

  #answer(reading: MemberReading | null): void {
    const asked = this.#asked;
    this.#asked = null;
    asked?.resolve(reading);
  }
}

/** An error that nothing in a thread has caught: its invariants may be broken. */
function failed(error: unknown): Extract<FromReplicaThread, { readonly kind: "failed" }> {
  return { ...failureOf(error, ExitCode.fatal), exitCode: ExitCode.fatal };
}

/** The log of operation, in which every line says of which group it is. */
function labelled(events: EventLog, member: number): EventLog {
  const group = groupName(member);
  return {
    info: (event, fields = {}) => events.info(event, { group, ...fields }),
    warn: (event, fields = {}) => events.warn(event, { group, ...fields }),
    error: (event, fields = {}) => events.error(event, { group, ...fields }),
  };
}
