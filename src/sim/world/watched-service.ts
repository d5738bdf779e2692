import { assert, ByteWriter, hashBytes, mix32 } from "../../base/index.js";
import {
  type Digest,
  emptyRun,
  type ReplicaId,
  type Run,
  type Service,
  type SharedService,
  type SharedServiceModule,
  type SharedServiceRoot,
  type UndoLog,
} from "../../model/index.js";
import { DEFINED_COMMAND_HEADER_BYTES, ValueReader } from "../../service/index.js";
import type { SimulatedService } from "../../runtime/index.js";
import { shownCall } from "../workload/index.js";
import { PassingService, PassingView } from "./passing-service.js";
import { WorldViolation } from "./violation.js";

/** Ordered commands whose effects are remembered; replicas that lag further behind are not compared there. */
const EFFECTS_MAX = 200_000;

interface Effect {
  readonly replica: ReplicaId;
  readonly before: string;
  readonly after: string;
  readonly reply: number;
}

/** What each ordered command did where it was executed first. */
export class ServiceEffects {
  readonly #service: SimulatedService;
  readonly #effects = new Map<string, Effect>();
  readonly #reader = new ValueReader();

  constructor(service: SimulatedService) {
    this.#service = service;
  }

  /** The service of one replica, watched. */
  watched(replica: ReplicaId): Service {
    return new WatchedService(this.#service.module.create(), replica, this);
  }

  /** The same where several threads share it. */
  watchedShared(real: SharedServiceModule, replica: ReplicaId): SharedServiceModule {
    return {
      ...real,
      createShared: (groups) => new WatchedSharedService(real.createShared(groups), replica, 0, this),
      attach: (description, thread, groups) =>
        new WatchedSharedService(real.attach(description, thread, groups), replica, thread, this),
    };
  }

  /** Throws `WorldViolation` if another replica was left in another state, or gave another reply, by the same command. */
  note(place: string, effect: Effect, run: Run, index: number): void {
    const known = this.#effects.get(place);
    if (known === undefined) {
      this.#effects.set(place, effect);
      if (this.#effects.size > EFFECTS_MAX) for (const oldest of this.#effects.keys()) return this.#forget(oldest);
      return;
    }
    if (known.after === effect.after && known.reply === effect.reply) return;
    const replicas = `replica ${effect.replica} and replica ${known.replica}`;
    const call = this.#shown(run, index);
    if (known.before !== effect.before) {
      throw new WorldViolation("service-determinism", `the states of ${replicas} differ already before ${call}`);
    }
    const what = known.after === effect.after ? "answers otherwise" : "does otherwise";
    throw new WorldViolation(
      "service-determinism",
      `${call} ${what} on ${replicas}, from equal states, at the same agreed time ${run.time}`,
    );
  }

  /** Throws `WorldViolation` for a command of which something was left though it failed its check. */
  leftBehind(run: Run, index: number): never {
    throw new WorldViolation(
      "service-determinism",
      `${this.#shown(run, index)} fails its check, and leaves something behind`,
    );
  }

  #forget(place: string): void {
    this.#effects.delete(place);
  }

  #shown({ bytes, view, offsets }: Run, index: number): string {
    const at = offsets[index] as number;
    const end = at + view.getUint32(at, true);
    const start = at + DEFINED_COMMAND_HEADER_BYTES;
    const name = this.#service.commandName(view.getUint32(at + 4, true)) ?? "an unknown command";
    return shownCall(name, start === end ? undefined : this.#reader.read(bytes, view, start, end));
  }
}

/**
 * Executes ordered commands one at a time, each as a run of its own, with a seed that follows from the block's as a function of its
 * place in it, and has each compared with what it did on the other replicas: by the digest of the state before and behind it, and by
 * its reply. So what differs is found at the command that made it so, not somewhere behind it.
 *
 * While one runs, the engine's setting for stack traces is another on each replica, as it may be on machines.
 */
class ComparedCommands {
  readonly #replica: ReplicaId;
  readonly #effects: ServiceEffects;
  /** Which of the replica's threads executes, where there are several. */
  readonly #thread: number;
  readonly #readDigest: (into: Digest) => void;
  readonly #one: Run = emptyRun();
  readonly #reply = new ByteWriter();
  readonly #digest: Digest = new Uint32Array(4);

  constructor(replica: ReplicaId, effects: ServiceEffects, thread: number, readDigest: (into: Digest) => void) {
    this.#replica = replica;
    this.#effects = effects;
    this.#thread = thread;
    this.#readDigest = readDigest;
  }

  execute(run: Run, replies: ByteWriter, inner: (run: Run, replies: ByteWriter) => void): void {
    if (run.readOnly) return this.#differently(() => inner(run, replies));
    for (let i = 0; i < run.count; i++) {
      this.#compare("executed", run, i, replies, (one, reply) => {
        inner(one, reply);
        return true;
      });
    }
  }

  /** Attempts commands from `first` on: whether each passes is compared as well. Returns the index of the first that fails. */
  attempt(run: Run, first: number, replies: ByteWriter, inner: (run: Run, replies: ByteWriter) => boolean): number {
    let i = first;
    while (i < run.count && this.#compare("attempted", run, i, replies, inner)) i++;
    return i;
  }

  /** `inner` executes the command and says whether it passed; one that fails leaves nothing behind. */
  #compare(
    how: string,
    run: Run,
    i: number,
    replies: ByteWriter,
    inner: (run: Run, replies: ByteWriter) => boolean,
  ): boolean {
    const one = this.#one;
    const reply = this.#reply;
    const at = run.offsets[i] as number;
    one.bytes = run.bytes;
    one.view = run.view;
    one.offsets[0] = at;
    one.count = 1;
    one.time = run.time;
    one.seed = mix32(run.seed + i);
    one.readOnly = false;
    one.answered = 1;
    one.work = 0;
    const before = this.#state();
    reply.clear();
    let passed = true;
    this.#differently(() => {
      passed = inner(one, reply);
    });
    const after = this.#state();
    // A failed command has no reply, and no other one is as short.
    const effect = { replica: this.#replica, before, after, reply: hashBytes(reply.bytes, 0, reply.length, 0) };
    replies.copy(reply.bytes, 0, reply.length);
    run.work += one.work;
    // A block's seed is a function of its position in its stream; streams have like positions, hence the bytes, and the copy of one
    // that failed has the same ones.
    const command = hashBytes(run.bytes, at, at + run.view.getUint32(at, true), 0);
    this.#effects.note(`${how} ${this.#thread} ${run.seed} ${run.time} ${i} ${command}`, effect, run, i);
    if (passed || (before === after && reply.length === 0)) return passed;
    return this.#effects.leftBehind(one, 0);
  }

  #differently(execute: () => void): void {
    const before = Error.stackTraceLimit;
    Error.stackTraceLimit = before + this.#replica;
    try {
      execute();
    } finally {
      Error.stackTraceLimit = before;
    }
  }

  #state(): string {
    this.#readDigest(this.#digest);
    return this.#digest.join();
  }
}

class WatchedService extends PassingService {
  readonly #compared: ComparedCommands;

  constructor(inner: Service, replica: ReplicaId, effects: ServiceEffects) {
    super(inner);
    this.#compared = new ComparedCommands(replica, effects, 0, (into) => inner.digest(into));
  }

  override execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    this.#compared.execute(run, replies, (one, reply) => this.inner.execute(one, reply, undo));
  }
}

/** Tells the state of those partitions that its thread may touch. */
interface PartitionsInUse {
  digestInUse(into: Digest): void;
}

/** The view of one thread, which executes a command on its own partition, or alone on those of all threads that it concerns. */
class WatchedSharedService extends PassingView {
  readonly #compared: ComparedCommands;

  constructor(inner: SharedService | SharedServiceRoot, replica: ReplicaId, thread: number, effects: ServiceEffects) {
    super(inner);
    const partitions = inner as Partial<PartitionsInUse>;
    assert(partitions.digestInUse !== undefined, "a user's service has partitions");
    this.#compared = new ComparedCommands(replica, effects, thread, (into) => partitions.digestInUse?.(into));
  }

  override execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    this.#compared.execute(run, replies, (one, reply) => this.inner.execute(one, reply, undo));
  }

  protected override attempted(run: Run, first: number, thread: number, replies: ByteWriter): number {
    return this.#compared.attempt(run, first, replies, (one, reply) => super.attempted(one, 0, thread, reply) === 1);
  }
}
