// Hot file: the benchmark's own cost is part of what it measures. Nothing per command but writing it and checking its
// reply; per block one slot of a table, reused.
import { assert, ByteWriter, KiB, MiB, Prng } from "../../base/index.js";
import {
  BLOCK_BYTES_MAX,
  BLOCK_COMMANDS_MAX,
  type ClientFailure,
  CommandError,
  ConfigError,
  REPLY_HEADER_BYTES,
  replyCount,
  ReplyStatus,
  replyStatus,
  type Span,
} from "../../model/index.js";
import type { Scheduler, Timer, Turn } from "../../platform/index.js";
import type { BlockClient, BlockClientHandlers } from "./block-client.js";
import { LatencyHistogram } from "./latency-histogram.js";
import type { LoadCommands } from "./load-commands.js";
import { errorOf } from "./promise-client.js";

export type LoadWorkload = "put" | "get" | "mixed";

/** The fraction of reads of each workload. */
const READS: Readonly<Record<LoadWorkload, number>> = { put: 0, get: 1, mixed: 0.5 };

export interface LoadOptions {
  readonly workload: LoadWorkload;
  /** Clients, each with a session and connections of its own. */
  readonly clients: number;
  /** Commands that each client keeps outstanding. */
  readonly window: number;
  /** Keys, all written before the load begins; the load picks among them uniformly. */
  readonly keys: number;
  /** Measured time. */
  readonly seconds: number;
  /** The load runs this long before it is measured. */
  readonly warmupSeconds: number;
  /** Commands per second, sent when due whatever is outstanding up to the windows; null: as fast as replies come. */
  readonly rate: number | null;
  readonly seed: number;
}

export const loadDefaults: LoadOptions = Object.freeze({
  workload: "put",
  clients: 1,
  window: 64,
  keys: 100_000,
  seconds: 10,
  warmupSeconds: 1,
  rate: null,
  seed: 1,
});

export type LoadPhase = "preload" | "warm-up" | "measure" | "drain";

export interface LoadProgress {
  readonly phase: LoadPhase;
  /** Fraction of the phase that is over, 0 to 1. */
  readonly fraction: number;
  /** Commands answered in the last second, per second. */
  readonly throughput: number;
  readonly errors: number;
}

export interface LoadInit {
  readonly scheduler: Scheduler;
  /** Opens client `index`. */
  open(handlers: BlockClientHandlers, index: number): Promise<BlockClient>;
  readonly commands: LoadCommands;
  readonly options: LoadOptions;
  /** Once per second. */
  onProgress?(progress: LoadProgress): void;
  /** A phase begins. What the measured time costs elsewhere is read at `measure` and at `drain`. */
  onPhase?(phase: LoadPhase): void;
}

/** The load's part of what `synod bench` prints, under the same names. */
export interface LoadResult {
  /** Commands answered per second of the measured time. */
  readonly throughput: number;
  readonly latency_ms: {
    readonly p50: number;
    readonly p95: number;
    readonly p99: number;
    readonly p999: number;
    readonly max: number;
  };
  /** Commands answered in the measured time. */
  readonly commands: number;
  /** Commands that failed or got an unexpected reply, warm-up included. */
  readonly errors: number;
  readonly seconds: number;
  readonly histogram: LatencyHistogram;
}

/** Completes and checks options. Throws `ConfigError`. */
export function loadOptions(partial: Partial<LoadOptions> = {}): LoadOptions {
  const options = { ...loadDefaults, ...partial };
  const whole = (name: "clients" | "window" | "keys", max: number): void => {
    const value = options[name];
    if (!Number.isInteger(value) || value < 1 || value > max) {
      throw new ConfigError(`${name} is a whole number of 1 to ${max}, got ${value}`);
    }
  };
  if (!Object.hasOwn(READS, options.workload)) {
    throw new ConfigError(`the workload is one of ${Object.keys(READS).join(", ")}, got ${options.workload}`);
  }
  whole("clients", 10_000);
  whole("window", 1_000_000);
  whole("keys", 1_000_000_000);
  if (!(options.seconds > 0 && options.seconds <= 86_400)) {
    throw new ConfigError(`seconds is above 0 and at most 86400, got ${options.seconds}`);
  }
  if (!(options.warmupSeconds >= 0 && options.warmupSeconds <= 3600)) {
    throw new ConfigError(`warmupSeconds is 0 to 3600, got ${options.warmupSeconds}`);
  }
  if (options.rate !== null && !(options.rate > 0 && options.rate <= 1e9)) {
    throw new ConfigError(`rate is above 0 and at most 1e9 commands per second, got ${options.rate}`);
  }
  return Object.freeze(options);
}

/**
 * Runs a load to its end: opens the clients, writes all keys, warms up, measures, waits for what is outstanding, closes the
 * clients. Rejects when a client can't be opened or the keys can't be written.
 *
 * In the closed loop a command is timed from its submission; with a rate, from when it was due, so that a stall counts for
 * every command that it held up.
 */
export async function runLoad(init: LoadInit): Promise<LoadResult> {
  const load = new Load(init);
  try {
    await load.open();
    await load.preload();
    return await load.measure();
  } finally {
    await load.close();
  }
}

/** A block takes no further command once it is this long, unless it has none. */
const BLOCK_BYTES_TARGET = 512 * KiB;
const PRELOAD_COMMANDS = 512;
const PRELOAD_BLOCKS_OPEN = 4;
/** Preload blocks that may fail in a row before the load gives up. */
const PRELOAD_FAILURES_MAX = 20;

/** A submitted block; its index is its token. */
interface BlockSlot {
  read: boolean;
  commands: number;
  /** Those that are unanswered. */
  commandsLeft: number;
  submittedAt: number;
  /** When each command was due, with a rate; empty otherwise. */
  due: Float64Array;
  /** First key of a preload block. */
  firstKey: number;
}

class LoadClient implements BlockClientHandlers {
  readonly index: number;
  readonly slots: BlockSlot[] = [];
  readonly free: number[] = [];
  readonly #load: Load;
  client: BlockClient | null = null;
  outstanding = 0;
  blocksOpen = 0;
  /** Reads that found no place beside their updates, and when they were due. */
  readsOwed = 0;
  owedDue = 0;
  /** Stands in the load's list of clients that may have room. */
  listed = false;

  constructor(load: Load, index: number) {
    this.#load = load;
    this.index = index;
  }

  get open(): boolean {
    return this.client?.open === true;
  }

  /** Submits what stands in `writer`. */
  submit(read: boolean, commands: number, writer: ByteWriter, now: number): BlockSlot {
    let token = this.free.pop();
    if (token === undefined) {
      token = this.slots.length;
      this.slots.push({ read, commands: 0, commandsLeft: 0, submittedAt: 0, due: new Float64Array(0), firstKey: 0 });
    }
    const slot = this.slots[token] as BlockSlot;
    slot.read = read;
    slot.commands = commands;
    slot.commandsLeft = commands;
    slot.submittedAt = now;
    this.outstanding += commands;
    this.blocksOpen++;
    assert(this.client !== null, "a block was submitted before its client was open");
    this.client.submit(token, read, commands, writer.bytes, writer.view, 0, writer.length);
    return slot;
  }

  resolve(token: number, replies: Span): void {
    if (replyStatus(replies.view, replies.start) === ReplyStatus.split) {
      const slot = this.slots[token] as BlockSlot;
      this.#load.onPart(slot, replies);
      this.client?.more(token);
      return;
    }
    this.#load.onReplies(this, this.#end(token), replies);
  }

  fail(token: number, failure: ClientFailure): void {
    this.#load.onFailure(this, this.#end(token), failure);
  }

  opened(): void {
    this.#load.list(this);
  }

  #end(token: number): BlockSlot {
    const slot = this.slots[token] as BlockSlot;
    this.outstanding -= slot.commands;
    this.blocksOpen--;
    this.free.push(token);
    this.#load.list(this);
    return slot;
  }
}

class Load {
  readonly #init: LoadInit;
  readonly #options: LoadOptions;
  readonly #scheduler: Scheduler;
  readonly #commands: LoadCommands;
  readonly #prng: Prng;
  readonly #readFraction: number;
  readonly #clients: LoadClient[];
  readonly #turn: Turn;
  readonly #phaseTimer: Timer;
  readonly #rateTimer: Timer;
  readonly #progressTimer: Timer;
  readonly #updates = new ByteWriter(64 * KiB, BLOCK_BYTES_MAX + 1 * MiB);
  readonly #reads = new ByteWriter(64 * KiB, BLOCK_BYTES_MAX + 1 * MiB);
  readonly histogram = new LatencyHistogram();

  #phase: LoadPhase = "preload";
  #phaseStart = 0;
  #finish: ((error: Error | null) => void) | null = null;
  /** Clients that may have room, in the order they got it. */
  #listed: LoadClient[] = [];
  #listedBefore: LoadClient[] = [];
  #answered = 0;
  #answeredAtProgress = 0;
  #measured = 0;
  #measuredSeconds = 0;
  #errors = 0;
  // Preload.
  #keyNext = 0;
  #keysWritten = 0;
  readonly #keysAgain: { firstKey: number; commands: number }[] = [];
  #failuresInRow = 0;
  /** Commands given to clients since the warm-up began. */
  #issued = 0;
  // Rate: command i is due at `#rateStart + i * #rateStepMs`.
  #rateStart = 0;
  #rateStepMs = 0;
  #rateClient = 0;
  readonly #updatesDue: Float64Array;
  readonly #readsDue: Float64Array;

  constructor(init: LoadInit) {
    this.#init = init;
    this.#options = loadOptions(init.options);
    this.#scheduler = init.scheduler;
    this.#commands = init.commands;
    this.#prng = new Prng(this.#options.seed);
    this.#readFraction = READS[this.#options.workload];
    this.#clients = Array.from({ length: this.#options.clients }, (_, index) => new LoadClient(this, index));
    const dueMax = this.#options.rate === null ? 0 : Math.min(this.#options.window, BLOCK_COMMANDS_MAX);
    this.#updatesDue = new Float64Array(dueMax);
    this.#readsDue = new Float64Array(dueMax);
    this.#turn = init.scheduler.turn(() => this.#onTurn());
    this.#phaseTimer = init.scheduler.timer(() => this.#onPhaseEnd());
    this.#rateTimer = init.scheduler.timer(() => this.#onDue());
    this.#progressTimer = init.scheduler.timer(() => this.#onProgress());
  }

  async open(): Promise<void> {
    for (const client of this.#clients) client.client = await this.#init.open(client, client.index);
  }

  preload(): Promise<void> {
    this.#begin("preload");
    this.#progressTimer.set(this.#now() + 1000);
    return this.#until(() => this.#listAll());
  }

  async measure(): Promise<LoadResult> {
    const { rate, warmupSeconds } = this.#options;
    this.#begin("warm-up");
    await this.#until(() => {
      this.#phaseTimer.set(this.#phaseStart + warmupSeconds * 1000);
      if (rate !== null) {
        this.#rateStart = this.#phaseStart;
        this.#rateStepMs = 1000 / rate;
      }
      this.#listAll();
    });
    const seconds = this.#measuredSeconds;
    const percentile = (fraction: number): number => this.histogram.percentile(fraction);
    return {
      throughput: this.#measured / seconds,
      latency_ms: {
        p50: percentile(0.5),
        p95: percentile(0.95),
        p99: percentile(0.99),
        p999: percentile(0.999),
        max: this.histogram.maxMs,
      },
      commands: this.#measured,
      errors: this.#errors,
      seconds,
      histogram: this.histogram,
    };
  }

  async close(): Promise<void> {
    this.#phase = "drain";
    this.#finish = null;
    for (const timer of [this.#phaseTimer, this.#rateTimer, this.#progressTimer]) timer.clear();
    const opened = this.#clients.map(({ client }) => client).filter((client) => client !== null);
    await Promise.all(opened.map((client) => new Promise<void>((done) => client.close(done))));
  }

  // Answers.

  /** Long values come in several parts; the block is recorded with the last, and what was wrong in any counts. */
  onPart(slot: BlockSlot, replies: Span): void {
    slot.commandsLeft -= replyCount(replies.view, replies.start);
    this.#errors += this.#unexpected(replies, replyCount(replies.view, replies.start), slot.read);
  }

  #unexpected({ view, start }: Span, commands: number, read: boolean): number {
    let unexpected = 0;
    let at = start + REPLY_HEADER_BYTES;
    for (let i = 0; i < commands; i++) {
      if (!this.#commands.isExpected(view, at, read)) unexpected++;
      at += view.getUint32(at, true);
    }
    return unexpected;
  }

  onReplies(client: LoadClient, slot: BlockSlot, replies: Span): void {
    const { commands, commandsLeft, read } = slot;
    const unexpected = this.#unexpected(replies, commandsLeft, read);
    if (this.#phase === "preload") {
      if (unexpected === 0) {
        this.#keysWritten += commands;
        this.#failuresInRow = 0;
      } else {
        this.#preloadAgain(slot);
        if (this.#failuresInRow >= PRELOAD_FAILURES_MAX) {
          return this.#finish?.(new CommandError("the service refuses the keys of the load"));
        }
      }
    } else {
      this.#errors += unexpected;
    }
    this.#answered += commands;
    if (this.#phase === "measure") this.#record(slot);
    this.#afterAnswer(client);
  }

  onFailure(client: LoadClient, slot: BlockSlot, failure: ClientFailure): void {
    if (this.#phase === "preload") {
      this.#preloadAgain(slot);
      if (this.#failuresInRow >= PRELOAD_FAILURES_MAX) return this.#finish?.(errorOf(failure));
    } else if (failure !== "closed") this.#errors += slot.commands;
    this.#afterAnswer(client);
  }

  /** Notes that a client may have room; it is filled at the end of the turn, with whatever room it then has. */
  list(client: LoadClient): void {
    if (client.listed) return;
    client.listed = true;
    this.#listed.push(client);
    this.#turn.request();
  }

  #record(slot: BlockSlot): void {
    const now = this.#now();
    const { commands } = slot;
    this.#measured += commands;
    if (this.#options.rate === null) {
      this.histogram.record(now - slot.submittedAt, commands);
      return;
    }
    for (let i = 0; i < commands; i++) this.histogram.record(now - (slot.due[i] as number), 1);
  }

  #afterAnswer(client: LoadClient): void {
    if (this.#phase === "preload" && this.#keysWritten === this.#options.keys) this.#finish?.(null);
    else if (this.#phase === "drain" && client.outstanding === 0 && this.#idle()) this.#finish?.(null);
  }

  #idle(): boolean {
    return this.#clients.every((client) => client.outstanding === 0);
  }

  // Commands.

  #onTurn(): void {
    const clients = this.#listed;
    this.#listed = this.#listedBefore;
    this.#listedBefore = clients;
    for (let i = 0; i < clients.length; i++) {
      const client = clients[i] as LoadClient;
      client.listed = false;
      if (this.#phase === "preload") this.#fillPreload(client);
      else if (this.#phase !== "drain") this.#fill(client);
    }
    clients.length = 0;
  }

  /** Uses a client's room for the next commands: one block of updates and one of reads, or more when they get long. */
  #fill(client: LoadClient): void {
    const { window, rate } = this.#options;
    const now = this.#now();
    while (client.open && client.outstanding < window) {
      if (client.readsOwed > 0) {
        this.#fillOwed(client, now);
        continue;
      }
      let room = Math.min(window - client.outstanding, BLOCK_COMMANDS_MAX);
      // What is due is spread over the clients.
      if (rate !== null) room = Math.min(room, Math.ceil(this.#dueBy(now) / this.#clients.length));
      if (room <= 0) break;
      this.#fillBlocks(client, room, now);
      if (rate !== null) break;
    }
    if (rate !== null) this.#rateTimer.set(Math.max(now + 1, this.#dueAt(this.#issued)));
  }

  #fillBlocks(client: LoadClient, room: number, now: number): void {
    const updates = this.#updates;
    const reads = this.#reads;
    const { keys, rate } = this.#options;
    const first = this.#issued;
    updates.clear();
    reads.clear();
    let readCount = 0;
    let updateCount = 0;
    while (readCount + updateCount < room && updates.length < BLOCK_BYTES_TARGET && reads.length < BLOCK_BYTES_TARGET) {
      const read = this.#readFraction > 0 && this.#prng.chance(this.#readFraction);
      const key = this.#prng.below(keys);
      const due = rate === null ? 0 : this.#dueAt(this.#issued);
      if (read) {
        if (rate !== null) this.#readsDue[readCount] = due;
        this.#commands.writeRead(reads, key);
        readCount++;
      } else {
        if (rate !== null) this.#updatesDue[updateCount] = due;
        this.#commands.writeUpdate(updates, key);
        updateCount++;
      }
      this.#issued++;
    }
    if (updateCount > 0) {
      const slot = client.submit(false, updateCount, updates, now);
      if (rate !== null) keepDue(slot, this.#updatesDue);
    }
    if (readCount === 0) return;
    if (client.open) {
      const slot = client.submit(true, readCount, reads, now);
      if (rate !== null) keepDue(slot, this.#readsDue);
    } else {
      // The updates took the client's last place. Its next block has as many reads, due when the oldest of these was.
      client.readsOwed = readCount;
      client.owedDue = rate === null ? 0 : this.#dueAt(first);
    }
  }

  #fillOwed(client: LoadClient, now: number): void {
    const reads = this.#reads;
    reads.clear();
    const count = client.readsOwed;
    client.readsOwed = 0;
    for (let i = 0; i < count; i++) this.#commands.writeRead(reads, this.#prng.below(this.#options.keys));
    const slot = client.submit(true, count, reads, now);
    if (this.#options.rate === null) return;
    this.#readsDue.fill(client.owedDue, 0, count);
    keepDue(slot, this.#readsDue);
  }

  #fillPreload(client: LoadClient): void {
    const writer = this.#updates;
    while (client.open && client.blocksOpen < PRELOAD_BLOCKS_OPEN) {
      const again = this.#keysAgain.pop();
      const firstKey = again?.firstKey ?? this.#keyNext;
      const end = again === undefined ? this.#options.keys : firstKey + again.commands;
      writer.clear();
      let key = firstKey;
      while (key < end && key - firstKey < PRELOAD_COMMANDS && writer.length < BLOCK_BYTES_TARGET) {
        this.#commands.writeUpdate(writer, key++);
      }
      if (key === firstKey) return;
      if (again === undefined) this.#keyNext = key;
      client.submit(false, key - firstKey, writer, this.#now()).firstKey = firstKey;
    }
  }

  #preloadAgain(slot: BlockSlot): void {
    this.#failuresInRow++;
    this.#keysAgain.push({ firstKey: slot.firstKey, commands: slot.commands });
    this.#listAll();
  }

  // Time.

  #dueAt(command: number): number {
    return this.#rateStart + command * this.#rateStepMs;
  }

  /** How many commands are due and not issued. */
  #dueBy(now: number): number {
    return Math.max(0, Math.floor((now - this.#rateStart) / this.#rateStepMs) + 1 - this.#issued);
  }

  #onDue(): void {
    if (this.#phase !== "warm-up" && this.#phase !== "measure") return;
    // A low rate would otherwise be the first client's alone.
    this.#rateClient = (this.#rateClient + 1) % this.#clients.length;
    this.#listAll(this.#rateClient);
  }

  #begin(phase: LoadPhase): void {
    this.#phase = phase;
    this.#phaseStart = this.#now();
    this.#init.onPhase?.(phase);
  }

  #onPhaseEnd(): void {
    if (this.#phase === "warm-up") {
      this.histogram.clear();
      this.#measured = 0;
      this.#begin("measure");
      this.#phaseTimer.set(this.#phaseStart + this.#options.seconds * 1000);
    } else if (this.#phase === "measure") {
      this.#rateTimer.clear();
      // The timer may have fired late; what was answered until now belongs to the time until now.
      this.#measuredSeconds = (this.#now() - this.#phaseStart) / 1000;
      this.#begin("drain");
      // Every block is answered or fails by its deadline, so the drain ends.
      if (this.#idle()) this.#finish?.(null);
    }
  }

  #onProgress(): void {
    const { keys, warmupSeconds, seconds } = this.#options;
    const elapsed = (this.#now() - this.#phaseStart) / 1000;
    const length = this.#phase === "warm-up" ? warmupSeconds : seconds;
    const fraction =
      this.#phase === "preload"
        ? this.#keysWritten / keys
        : this.#phase === "drain"
          ? 1
          : Math.min(1, elapsed / length);
    const throughput = this.#answered - this.#answeredAtProgress;
    this.#answeredAtProgress = this.#answered;
    this.#progressTimer.set(this.#now() + 1000);
    this.#init.onProgress?.({ phase: this.#phase, fraction, throughput, errors: this.#errors });
  }

  #listAll(from = 0): void {
    const count = this.#clients.length;
    for (let i = 0; i < count; i++) this.list(this.#clients[(from + i) % count] as LoadClient);
  }

  #until(begin: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#finish = (error) => {
        this.#finish = null;
        if (error === null) resolve();
        else reject(error);
      };
      begin();
    });
  }

  #now(): number {
    return this.#scheduler.clock.monotonicMs();
  }
}

function keepDue(slot: BlockSlot, due: Float64Array): void {
  if (slot.due.length < slot.commands) slot.due = new Float64Array(due.length);
  for (let i = 0; i < slot.commands; i++) slot.due[i] = due[i] as number;
}
