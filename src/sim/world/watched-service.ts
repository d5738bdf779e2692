import { ByteWriter, hashBytes, mix32 } from "../../base/index.js";
import { type Digest, emptyRun, type ReplicaId, type Run, type Service, type UndoLog } from "../../model/index.js";
import { DEFINED_COMMAND_HEADER_BYTES, ValueReader } from "../../service/index.js";
import type { SimulatedService } from "../../runtime/index.js";
import { shownCall } from "../workload/index.js";
import { PassingService } from "./passing-service.js";
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
 * A service of which every ordered command is compared with what it did on the other replicas: by the digest of the state
 * before and behind it, and by its reply. So what differs is found at the command that made it so, not somewhere behind it.
 *
 * Commands are executed one at a time, each as a run of its own, with a seed that follows from the block's as a function of its
 * place in it. While one runs, the engine's setting for stack traces is another on each replica, as it may be on machines.
 */
class WatchedService extends PassingService {
  readonly #replica: ReplicaId;
  readonly #effects: ServiceEffects;
  readonly #one: Run = emptyRun();
  readonly #reply = new ByteWriter();
  readonly #digest: Digest = new Uint32Array(4);

  constructor(inner: Service, replica: ReplicaId, effects: ServiceEffects) {
    super(inner);
    this.#replica = replica;
    this.#effects = effects;
  }

  override execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    if (run.readOnly) return this.#differently(() => this.inner.execute(run, replies, undo));
    const one = this.#one;
    const reply = this.#reply;
    for (let i = 0; i < run.count; i++) {
      one.bytes = run.bytes;
      one.view = run.view;
      one.offsets[0] = run.offsets[i] as number;
      one.count = 1;
      one.time = run.time;
      one.seed = mix32(run.seed + i);
      one.readOnly = false;
      one.answered = 1;
      one.work = 0;
      const before = this.#state();
      reply.clear();
      this.#differently(() => this.inner.execute(one, reply, undo));
      const effect = {
        replica: this.#replica,
        before,
        after: this.#state(),
        reply: hashBytes(reply.bytes, 0, reply.length, 0),
      };
      replies.copy(reply.bytes, 0, reply.length);
      run.work += one.work;
      // A block's seed is a function of its position in the log.
      this.#effects.note(`${run.seed} ${run.time} ${i}`, effect, run, i);
    }
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
    this.inner.digest(this.#digest);
    return this.#digest.join();
  }
}
