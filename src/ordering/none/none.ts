import { assert, Ring } from "../../base/index.js";
import {
  type Batch,
  type BatchArena,
  ballotOf,
  batchTime,
  type EffectSink,
  type Instance,
  type Protocol,
  type ProtocolEvent,
  type ProtocolInit,
  type ProtocolView,
  type Recovered,
  type ReplicaId,
  TraceCode,
} from "../../model/index.js";
import type { NoneConfig } from "./config.js";
import type { NoneRecord } from "./record.js";

type Sink = EffectSink<never, never, NoneRecord>;

/**
 * One server that orders by itself: a batch is decided once its record is durable. What the replicated orderings are compared with, and no
 * more available than its machine.
 *
 * A server that may have lost records has nobody to ask what they said. It stays "recovering" and takes nothing.
 */
export class Unreplicated implements Protocol<never, never, NoneRecord> {
  readonly #self: ReplicaId;
  readonly #arena: BatchArena;
  readonly #config: NoneConfig;
  readonly #view: { -readonly [field in keyof ProtocolView]: ProtocolView[field] };
  /** Batches that have not executed, from `#firstHeld` on. */
  readonly #held: Ring<Batch>;
  #firstHeld: Instance = 1;
  /** Bytes of the batches above the trim point, oldest first. */
  readonly #lengths: Ring<number>;
  #logBytesMax: number;
  #openBytes = 0;
  /** The instance in front of that of token 1. */
  #beforeTokens: Instance = 0;
  #token = 0;
  /** Agreed time in ms at monotonic `#timeAt`, and the last one given. */
  #timeBase = 0;
  #timeAt = 0;
  #timeLast = 0;

  constructor({ self, replicas, arena }: ProtocolInit, config: NoneConfig) {
    assert(replicas.length === 1, `one server, not ${replicas.length} replicas`);
    this.#self = self;
    this.#arena = arena;
    this.#config = config;
    this.#logBytesMax = config.logBytesMax;
    this.#held = new Ring(config.logInstancesMax + config.windowInstancesMax);
    this.#lengths = new Ring(config.logInstancesMax + config.windowInstancesMax);
    this.#view = {
      role: "recovering",
      ballot: 0,
      leader: 0,
      decided: 0,
      opened: 0,
      trimmed: 0,
      proposable: false,
      proposableEmpty: false,
      readable: false,
      logBytes: 0,
      logMemoryBytes: 0,
      logFill: 0,
      timeOffsetMs: 0,
    };
  }

  inspect(): ProtocolView {
    return this.#view;
  }

  prologue(): readonly NoneRecord[] {
    return [];
  }

  step(event: ProtocolEvent<never, NoneRecord>, out: Sink): void {
    switch (event.kind) {
      case "start":
        this.#start(event.now, event.recovered, out);
        break;
      case "propose":
        if (this.#view.proposable) this.#open(event.now, event.batch, out);
        else out.refuse(event.batch, this.#view.role === "leader" ? "busy" : "not-leader", this.#view.leader);
        break;
      case "read":
        // What is acknowledged is decided, and what is decided later need not be seen.
        if (this.#view.readable) out.readable(event.ticket, this.#view.decided);
        else out.refuse(event.ticket, "not-leader", 0);
        break;
      case "persisted":
        while (this.#view.decided < this.#beforeTokens + event.token) this.#decide(out);
        break;
      case "executed":
        if (!event.speculative) this.#release(event.through);
        break;
      case "checkpointed":
        this.#logBytesMax = Math.max(this.#logBytesMax, event.logBytesMax ?? 0);
        this.#trim(event.through, out);
        break;
      case "tick":
      case "turn":
      case "aside":
      case "link":
      case "transferLeadership":
      case "message":
      case "installed":
      case "fetchFailed":
        break;
    }
    this.#look();
  }

  #start(
    now: number,
    { records, checkpointThrough, amnesiaNonce, wallMs, logBytesMax }: Recovered<NoneRecord>,
    out: Sink,
  ): void {
    const view = this.#view;
    view.decided = checkpointThrough;
    view.opened = checkpointThrough;
    view.trimmed = checkpointThrough;
    this.#firstHeld = checkpointThrough + 1;
    this.#logBytesMax = Math.max(this.#logBytesMax, logBytesMax ?? 0);
    this.#timeAt = now;
    if (amnesiaNonce !== 0) return;
    for (const { instance, batch } of records) {
      if (batch === null) continue;
      // The newest checkpoint is damaged, and the log begins behind it: what is between is lost.
      if (instance !== view.opened + 1) return this.#forgetAll();
      this.#timeLast = Math.max(this.#timeLast, batchTime(batch.view, batch.start));
      this.#hold(batch);
    }
    this.#timeBase = Math.max(Math.floor(wallMs), this.#timeLast);
    view.role = "leader";
    view.leader = this.#self;
    view.ballot = ballotOf(1, this.#self);
    view.readable = true;
    this.#beforeTokens = view.opened;
    out.trace(TraceCode.elected, view.ballot, view.decided, view.opened);
    while (view.decided < view.opened) this.#decide(out);
  }

  #forgetAll(): void {
    for (let batch = this.#held.shift(); batch !== undefined; batch = this.#held.shift()) this.#arena.release(batch);
    this.#lengths.clear();
    this.#openBytes = 0;
    this.#view.logBytes = 0;
    this.#view.opened = this.#view.decided;
  }

  #open(now: number, batch: Batch, out: Sink): void {
    const time = Math.floor(this.#timeBase + now - this.#timeAt);
    if (time > this.#timeLast) this.#timeLast = time;
    batch.view.setFloat64(batch.start + 16, this.#timeLast, true);
    this.#hold(batch);
    out.persist(++this.#token, { instance: this.#view.opened, batch }, []);
    out.trace(TraceCode.accepted, this.#view.opened, this.#view.ballot, 0);
  }

  #hold(batch: Batch): void {
    const bytes = batch.end - batch.start;
    this.#held.push(batch);
    this.#lengths.push(bytes);
    this.#openBytes += bytes;
    this.#view.logBytes += bytes;
    this.#view.opened++;
  }

  #decide(out: Sink): void {
    const view = this.#view;
    const batch = this.#held.at(view.decided + 1 - this.#firstHeld) as Batch;
    view.decided++;
    this.#openBytes -= batch.end - batch.start;
    out.decide(view.decided, batch);
  }

  #release(through: Instance): void {
    while (this.#firstHeld <= through) {
      this.#arena.release(this.#held.shift() as Batch);
      this.#firstHeld++;
    }
  }

  #trim(through: Instance, out: Sink): void {
    const view = this.#view;
    const before = view.trimmed;
    while (view.trimmed < through) {
      view.logBytes -= this.#lengths.shift() as number;
      view.trimmed++;
    }
    if (view.trimmed > before) out.trim(view.trimmed);
  }

  #look(): void {
    const view = this.#view;
    const { windowInstancesMax, windowBytesMax, logInstancesMax } = this.#config;
    const instances = this.#lengths.size;
    view.logMemoryBytes = this.#arena.bytesHeld;
    view.logFill = Math.max(view.logBytes / this.#logBytesMax, instances / logInstancesMax);
    view.timeOffsetMs = this.#timeBase - this.#timeAt;
    view.proposable =
      view.role === "leader" &&
      view.opened - view.decided < windowInstancesMax &&
      this.#openBytes < windowBytesMax &&
      view.logFill < 1;
    view.proposableEmpty = view.proposable;
  }
}
