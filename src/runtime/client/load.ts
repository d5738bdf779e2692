// Hot file: the benchmark's own cost is part of what it measures. Nothing per command but drawing it, writing it and checking
// its reply; per block one slot of a table, reused.
import { assert, type ByteWriter, KiB, Prng } from "../../base/index.js";
import {
  BLOCK_COMMANDS_MAX,
  type ClientFailure,
  CommandError,
  ConfigError,
  FAILED_REPLY_BYTES,
  type GroupMapping,
  REPLY_HEADER_BYTES,
  replyCount,
  type Span,
} from "../../model/index.js";
import type { Scheduler, Timer, Turn } from "../../platform/index.js";
import type { BlockClient, BlockClientHandlers } from "./block-client.js";
import type { GroupsClient } from "./groups-client.js";
import { LatencyHistogram } from "./latency-histogram.js";
import { ArrivalSchedule } from "./load-arrivals.js";
import {
  type BlockSlot,
  Draft,
  type Insertions,
  LoadBlockKind,
  LoadClient,
  type LoadClientHandlers,
} from "./load-client.js";
import { Expected, type LoadCommands } from "./load-commands.js";
import { createKeyChooser, InsertedKeys, insertedKey, type KeyChooser } from "./load-keys.js";
import { type LoadOptions, loadOptions } from "./load-options.js";
import { loadMix, type LoadMix, SCAN_LENGTH_MAX } from "./load-workload.js";
import { errorOf } from "./promise-client.js";
import { StreamChoice } from "./stream-choice.js";

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
  /** Opens client `index`; of a cluster with groups, whose streams all have these handlers, with the `mapping`. */
  open(
    handlers: BlockClientHandlers,
    index: number,
  ): BlockClient | GroupsClient | Promise<BlockClient> | Promise<GroupsClient>;
  /**
   * With groups: which of them commands concern. Each client's commands are sorted into a block for each stream, of which one at
   * a time is under way: what is drawn meanwhile waits for it, so that blocks do not become ever smaller.
   */
  readonly mapping?: GroupMapping | undefined;
  /** The cluster orders reads: they go with the other commands, in one block. True with groups, else false by default. */
  readonly readsOrdered?: boolean | undefined;
  /** The cluster is one of opt-PSMR: commands that pass their safety check and those that fail it are told apart. */
  readonly optimistic?: boolean | undefined;
  readonly commands: LoadCommands;
  readonly options: LoadOptions;
  /** Once per second. */
  onProgress?(progress: LoadProgress): void;
  /** A phase begins. What the measured time costs elsewhere is read at `measure` and at `drain`. */
  onPhase?(phase: LoadPhase): void;
}

/** Latency by rank, in ms. */
export interface LatencyRanks {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** What the safety check of opt-PSMR made of the commands answered in the measured time. */
export interface OptimisticFigures {
  /** Commands of any group, those that were ordered by g_all from the first included: no check can fail them. */
  readonly passed: number;
  readonly failed: number;
  /** Fraction of all. */
  readonly fail_rate: number;
  readonly latency_ms_passed: LatencyRanks;
  readonly latency_ms_failed: LatencyRanks;
}

/** The load's part of what `synod bench` prints, under the same names. */
export interface LoadResult {
  /** Commands answered per second of the measured time. */
  readonly throughput: number;
  readonly latency_ms: LatencyRanks;
  /** Null but for a cluster of opt-PSMR. */
  readonly optimistic: OptimisticFigures | null;
  /** Commands answered in the measured time. */
  readonly commands: number;
  /** Commands that failed or got an unexpected reply, warm-up included. */
  readonly errors: number;
  readonly seconds: number;
  readonly histogram: LatencyHistogram;
  /** With a rate: for how long, at the end of the measured time, the most overdue command had waited to be submitted. */
  readonly behindMs: number;
}

/**
 * Runs a load to its end: opens the clients, writes all keys, warms up, measures, waits for what is outstanding, closes the
 * clients. Rejects when a client can't be opened or the keys can't be written, and with `ConfigError` when the service does
 * not have what the workload asks for.
 *
 * In the closed loop a command is timed from its submission; with a rate, from when it was due, so that a stall counts for
 * every command that it held up. Of a block in which commands fail opt-PSMR's safety check those that pass are answered by its
 * first reply, and those that fail with the last of the block's.
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

/** Throws `ConfigError` unless the service has what the workload asks for. */
export function checkLoad({ workload }: LoadOptions, commands: LoadCommands): void {
  if (loadMix(workload).scan > 0 && !commands.scans) {
    throw new ConfigError(`workload ${workload} needs range scans, which this service does not have`);
  }
}

/** A block takes no further command once it is this long, unless it has none. */
const BLOCK_BYTES_TARGET = 512 * KiB;
const PRELOAD_COMMANDS = 2048;
const PRELOAD_BLOCKS_OPEN = 4;
/** Through g_all, where keys of all groups may be loaded, an answer takes a round of each group besides. */
const PRELOAD_BLOCKS_OPEN_GROUPS = 16;
/**
 * How often in a row preload blocks may fail before the load gives up. Each time those that follow are a quarter as long, and half as many are
 * open; blocks that were open by then do not count again.
 */
const PRELOAD_FAILURES_MAX = 6;
const PRELOAD_COMMANDS_MIN = 32;

/** Upper bounds of a 32-bit random number for each kind of command, in the order of the fields; the rest are modifications. */
interface MixBounds {
  readonly read: number;
  readonly update: number;
  readonly insert: number;
  readonly delete: number;
  readonly scan: number;
}

function mixBounds(mix: LoadMix): MixBounds {
  const step = 2 ** 32;
  const read = mix.read * step;
  const update = read + mix.update * step;
  const insert = update + mix.insert * step;
  const deleted = insert + mix.delete * step;
  return { read, update, insert, delete: deleted, scan: deleted + mix.scan * step };
}

/** Longer commands are copied by the engine. */
const WORD_COPY_BYTES_MAX = 128;

/** Appends the command at `at` to another block; most are short, and words are faster than bytes then. */
function copyCommand(from: ByteWriter, at: number, to: ByteWriter): void {
  const length = from.view.getUint32(at, true);
  if (length > WORD_COPY_BYTES_MAX) return to.copy(from.bytes, at, at + length);
  const end = to.skip(length) + length;
  const { view } = to;
  let left = length;
  for (; left >= 4; left -= 4) view.setUint32(end - left, from.view.getUint32(at + length - left, true), true);
  for (; left > 0; left--) to.bytes[end - left] = from.bytes[at + length - left] as number;
}

function ranksOf(histogram: LatencyHistogram): LatencyRanks {
  return {
    p50: histogram.percentile(0.5),
    p95: histogram.percentile(0.95),
    p99: histogram.percentile(0.99),
    p999: histogram.percentile(0.999),
    max: histogram.maxMs,
  };
}

function optimisticFigures(passed: LatencyHistogram, failed: LatencyHistogram): OptimisticFigures {
  const all = passed.total + failed.total;
  return {
    passed: passed.total,
    failed: failed.total,
    fail_rate: all === 0 ? 0 : failed.total / all,
    latency_ms_passed: ranksOf(passed),
    latency_ms_failed: ranksOf(failed),
  };
}

/** Puts the times at which commands were due that passed before those of the ones that failed. */
function passedFirst({ commands, due }: BlockSlot, { view, start }: Span): void {
  const failed: number[] = [];
  let passed = 0;
  let at = start + REPLY_HEADER_BYTES;
  for (let i = 0; i < commands; i++) {
    const length = view.getUint32(at, true);
    if (length > FAILED_REPLY_BYTES) due[passed++] = due[i] as number;
    else failed.push(due[i] as number);
    at += length;
  }
  for (const time of failed) due[passed++] = time;
}

class Load implements LoadClientHandlers {
  readonly #init: LoadInit;
  readonly #options: LoadOptions;
  readonly #scheduler: Scheduler;
  readonly #commands: LoadCommands;
  readonly #prng: Prng;
  readonly #mix: MixBounds;
  readonly #inserted: InsertedKeys;
  readonly #keys: KeyChooser;
  readonly #clients: LoadClient[];
  readonly #turn: Turn;
  readonly #phaseTimer: Timer;
  readonly #rateTimer: Timer;
  readonly #progressTimer: Timer;
  readonly #ordered: Draft;
  readonly #reads: Draft;
  readonly #modifies: Draft;
  /** Modifications in a draft at most: as many as keep the block of their updates short enough. */
  readonly #modifiesMax: number;
  /** With groups: what tells the streams of commands, and a draft for each stream. */
  readonly #choice: StreamChoice | null;
  readonly #parts: readonly Draft[];
  /** Kind of the blocks that ordered commands, and perhaps reads, go in. */
  readonly #orderedKind: LoadBlockKind;
  readonly histogram = new LatencyHistogram();
  /** Of commands that passed and failed their safety check; null where there is none. */
  readonly #passed: LatencyHistogram | null;
  readonly #failed = new LatencyHistogram();

  #phase: LoadPhase = "preload";
  #phaseStart = 0;
  #finish: ((error: Error | null) => void) | null = null;
  /** Clients that may have room, in the order they got it. */
  #listed: LoadClient[] = [];
  #listedBefore: LoadClient[] = [];
  #answered = 0;
  #answeredAtProgress = 0;
  #progressAt = 0;
  #measured = 0;
  #measuredSeconds = 0;
  #behindMs = 0;
  #errors = 0;
  // Preload.
  #keyNext = 0;
  #keysWritten = 0;
  readonly #keysAgain: { firstKey: number; commands: number }[] = [];
  #failuresInRow = 0;
  #preloadBlocks: number;
  #preloadCommands = PRELOAD_COMMANDS;
  #preloadSlowedAt = -Infinity;

  constructor(init: LoadInit) {
    this.#init = init;
    this.#options = loadOptions(init.options);
    const { workload, clients, window, keys, rate, seed } = this.#options;
    checkLoad(this.#options, init.commands);
    const mix = loadMix(workload);
    this.#scheduler = init.scheduler;
    this.#commands = init.commands;
    this.#prng = new Prng(seed);
    this.#mix = mixBounds(mix);
    this.#inserted = new InsertedKeys(clients);
    this.#keys = createKeyChooser(mix.keys, this.#prng.fork("keys"), keys, this.#inserted);
    this.#clients = Array.from({ length: clients }, (_, index) => new LoadClient(this, index));
    const commandsMax = Math.min(window, BLOCK_COMMANDS_MAX);
    const dueMax = rate === null ? 0 : commandsMax;
    const updatesMax = Math.max(1, Math.floor(BLOCK_BYTES_TARGET / init.commands.updateBytes));
    this.#modifiesMax = mix.modify > 0 ? Math.min(commandsMax, updatesMax) : 0;
    this.#ordered = new Draft(dueMax, 0);
    const { mapping, readsOrdered = mapping !== undefined } = init;
    this.#orderedKind = readsOrdered && mix.read + mix.scan > 0 ? LoadBlockKind.mixed : LoadBlockKind.ordered;
    this.#reads = readsOrdered ? this.#ordered : new Draft(dueMax, 0);
    this.#modifies = new Draft(dueMax, this.#modifiesMax);
    this.#choice = mapping === undefined ? null : new StreamChoice(mapping);
    this.#preloadBlocks = mapping === undefined ? PRELOAD_BLOCKS_OPEN : PRELOAD_BLOCKS_OPEN_GROUPS;
    const streams = mapping === undefined ? 0 : mapping.groups + 1;
    this.#parts = Array.from({ length: streams }, () => new Draft(dueMax, this.#modifiesMax));
    this.#passed = init.optimistic === true ? new LatencyHistogram() : null;
    this.#turn = init.scheduler.turn(() => this.#onTurn());
    this.#phaseTimer = init.scheduler.timer(() => this.#onPhaseEnd());
    this.#rateTimer = init.scheduler.timer(() => this.#onDue());
    this.#progressTimer = init.scheduler.timer(() => this.#onProgress());
  }

  async open(): Promise<void> {
    for (const client of this.#clients) {
      const opened = await this.#init.open(client, client.index);
      const streams = "streams" in opened ? opened.streams : [opened];
      assert(
        streams.length === Math.max(1, this.#parts.length),
        "clients of groups have the mapping of their commands",
      );
      const dueMax = this.#ordered.due.length;
      const drafts = this.#parts.map(() => new Draft(dueMax, 0));
      client.attach(streams, drafts, (done) => opened.close(done));
    }
  }

  preload(): Promise<void> {
    this.#begin("preload");
    this.#progressAt = this.#phaseStart;
    this.#progressTimer.set(this.#phaseStart + 1000);
    return this.#until(() => this.#listAll());
  }

  async measure(): Promise<LoadResult> {
    const { rate, arrivals, clients, warmupSeconds } = this.#options;
    this.#begin("warm-up");
    await this.#until(() => {
      this.#phaseTimer.set(this.#phaseStart + warmupSeconds * 1000);
      if (rate !== null) {
        for (const client of this.#clients) {
          const prng = this.#prng.fork(`arrivals-${client.index}`);
          client.arrivals = new ArrivalSchedule(prng, arrivals, rate, this.#phaseStart, client.index, clients);
        }
      }
      this.#listAll();
    });
    const seconds = this.#measuredSeconds;
    return {
      throughput: this.#measured / seconds,
      latency_ms: ranksOf(this.histogram),
      optimistic: this.#passed === null ? null : optimisticFigures(this.#passed, this.#failed),
      commands: this.#measured,
      errors: this.#errors,
      seconds,
      histogram: this.histogram,
      behindMs: this.#behindMs,
    };
  }

  async close(): Promise<void> {
    this.#phase = "drain";
    this.#finish = null;
    for (const timer of [this.#phaseTimer, this.#rateTimer, this.#progressTimer]) timer.clear();
    await Promise.all(this.#clients.map((client) => new Promise<void>((done) => client.close(done))));
  }

  // Answers.

  /** Long values come in several parts; the block is recorded with the last, and what was wrong in any counts. */
  onPart(slot: BlockSlot, replies: Span): void {
    const count = replyCount(replies.view, replies.start);
    slot.commandsLeft -= count;
    this.#errors += this.#unexpected(slot, replies, count);
  }

  #unexpected(slot: BlockSlot, { view, start }: Span, count: number): number {
    let expected: Expected = slot.kind === LoadBlockKind.ordered ? Expected.done : Expected.found;
    if (slot.kind === LoadBlockKind.mixed) expected = Expected.either;
    if (this.#phase === "preload") expected = Expected.loaded;
    return this.#commands.unexpected(view, start + REPLY_HEADER_BYTES, count, expected);
  }

  onReplies(client: LoadClient, slot: BlockSlot, replies: Span): void {
    const unexpected = this.#unexpected(slot, replies, slot.commandsLeft);
    if (this.#phase === "preload") return this.#onLoaded(client, slot, unexpected);
    this.#errors += unexpected;
    if (slot.kind === LoadBlockKind.modify && this.#phase !== "drain") {
      client.modifiesOwed.push(slot);
      return;
    }
    this.#answered += slot.commands - slot.passed;
    if (slot.insertedThrough > 0) this.#inserted.acknowledge(client.index, slot.insertedThrough);
    this.#endInsertions(client, slot);
    if (this.#phase === "measure") {
      this.#recordPart(slot, slot.passed, slot.commands, slot.waits ? this.#failed : this.#passed);
    }
    client.end(slot);
    this.#afterAnswer(client);
  }

  onPending(client: LoadClient, slot: BlockSlot, failed: number, replies: Span): void {
    // A modification is not done with its read, and of keys that are written only the last answer counts.
    if (this.#phase === "preload" || slot.kind === LoadBlockKind.modify) return;
    if (this.#options.rate !== null) passedFirst(slot, replies);
    const passed = slot.commands - failed;
    this.#answered += passed;
    if (this.#phase === "measure") this.#recordPart(slot, 0, passed, this.#passed);
    client.pass(slot, passed);
    this.onRoom(client);
    this.#afterAnswer(client);
  }

  #onLoaded(client: LoadClient, slot: BlockSlot, unexpected: number): void {
    const { commands } = slot;
    client.end(slot);
    if (unexpected > 0) return this.#loadAgain(slot, new CommandError("the service refuses the keys of the load"));
    this.#answered += commands;
    this.#keysWritten += commands;
    this.#failuresInRow = 0;
    if (this.#keysWritten === this.#options.keys) this.#finish?.(null);
  }

  /** Insertions that went into several blocks are there when all of these are answered, and all before them are there. */
  #endInsertions(client: LoadClient, slot: BlockSlot): void {
    if (slot.insertions.length === 0) return;
    for (let i = 0; i < slot.insertions.length; i++) (slot.insertions[i] as Insertions).blocks--;
    slot.insertions.length = 0;
    const { insertions } = client;
    for (let oldest = insertions[0]; oldest !== undefined && oldest.blocks === 0; oldest = insertions[0]) {
      this.#inserted.acknowledge(client.index, oldest.through);
      insertions.shift();
    }
  }

  onFailure(client: LoadClient, slot: BlockSlot, failure: ClientFailure): void {
    this.#endInsertions(client, slot);
    client.end(slot);
    if (this.#phase === "preload") return this.#loadAgain(slot, errorOf(failure));
    if (failure !== "closed") this.#errors += slot.commands - slot.passed;
    this.#afterAnswer(client);
  }

  /** Notes that a client may have room; it is filled at the end of the turn, with whatever room it then has. */
  onRoom(client: LoadClient): void {
    if (client.listed) return;
    client.listed = true;
    this.#listed.push(client);
    this.#turn.request();
  }

  /** Commands of a slot, from one to before another, are answered; `also` is of their kind, if kinds are told apart. */
  #recordPart(slot: BlockSlot, from: number, end: number, also: LatencyHistogram | null): void {
    const now = this.#now();
    const told = this.#passed === null ? null : also;
    this.#measured += end - from;
    if (this.#options.rate === null) {
      const ms = now - slot.submittedAt;
      this.histogram.record(ms, end - from);
      told?.record(ms, end - from);
      return;
    }
    for (let i = from; i < end; i++) {
      const ms = now - (slot.due[i] as number);
      this.histogram.record(ms, 1);
      told?.record(ms, 1);
    }
  }

  #afterAnswer(client: LoadClient): void {
    if (this.#phase === "drain" && client.outstanding === 0 && this.#idle()) this.#finish?.(null);
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
    if (this.#options.rate !== null) this.#awaitDue();
  }

  /** Uses a client's room for the next commands: a block for each kind, or more when they get long. */
  #fill(client: LoadClient): void {
    const now = this.#now();
    client.submitHeld();
    while (client.modifiesOwed.length > 0 && client.open) this.#submitModify(client);
    const { window } = this.#options;
    // What a draw leaves for streams with nothing under way is half of it or less: the rest of the room comes in ever smaller pieces.
    const least = this.#choice === null ? 0 : window >> 4;
    for (let room = client.room(window); client.open && room > least; room = client.room(window)) {
      if (!this.#fillBlocks(client, now, room)) break;
    }
    if (this.#choice !== null) this.#submitDrafts(client);
  }

  /** Draws commands into a client's room and submits them; false if none was due. */
  #fillBlocks(client: LoadClient, now: number, roomMax: number): boolean {
    const { arrivals } = client;
    const ordered = this.#ordered;
    const reads = this.#reads;
    const modifies = this.#modifies;
    ordered.clear();
    reads.clear();
    modifies.clear();
    const room = Math.min(roomMax, BLOCK_COMMANDS_MAX);
    const insertedBefore = client.inserted;
    const modifiesMax = this.#modifiesMax;
    let drawn = 0;
    while (drawn < room) {
      if (ordered.writer.length >= BLOCK_BYTES_TARGET || reads.writer.length >= BLOCK_BYTES_TARGET) break;
      if (modifiesMax > 0 && modifies.commands === modifiesMax) break;
      let due = 0;
      if (arrivals !== null) {
        if (arrivals.dueMs > now) break;
        due = arrivals.take();
      }
      const draft = this.#draw(client);
      if (arrivals !== null) draft.due[draft.commands] = due;
      draft.commands++;
      drawn++;
    }
    const inserted = client.inserted > insertedBefore ? client.inserted : 0;
    if (this.#choice !== null) {
      this.#sort(client, ordered, now, inserted);
      this.#submitParts(client, LoadBlockKind.modify, modifies, now);
      return drawn > 0;
    }
    if (ordered.commands > 0) {
      const slot = this.#take(client, this.#orderedKind, ordered, now);
      slot.insertedThrough = inserted;
      client.submit(slot, ordered.writer);
    }
    if (reads !== ordered && reads.commands > 0)
      client.submit(this.#take(client, LoadBlockKind.read, reads, now), reads.writer);
    if (modifies.commands > 0) {
      client.submit(this.#take(client, LoadBlockKind.modify, modifies, now), modifies.writer);
    }
    return drawn > 0;
  }

  /** Sorts the commands that were drawn into the client's drafts, by their streams. */
  #sort(client: LoadClient, drawn: Draft, now: number, inserted: number): void {
    if (drawn.commands === 0) return;
    let insertions: Insertions | null = null;
    if (inserted > 0) {
      insertions = { through: inserted, blocks: 0 };
      client.insertions.push(insertions);
    }
    const { drafts } = client;
    this.#distribute(drawn, drafts, now);
    if (insertions === null) return;
    for (let stream = 0; stream < drafts.length; stream++) {
      const draft = drafts[stream] as Draft;
      if (draft.commands === 0) continue;
      draft.insertions.push(insertions);
      insertions.blocks++;
    }
  }

  /** Appends a draft's commands to those of their streams. */
  #distribute(draft: Draft, parts: readonly Draft[], now: number): void {
    const { writer, commands, due, keys } = draft;
    const choice = this.#choice as StreamChoice;
    choice.look(commands, writer.bytes, writer.view, 0);
    for (let i = 0; i < commands; i++) {
      const part = parts[choice.of(i)] as Draft;
      if (part.commands === 0) part.since = now;
      copyCommand(writer, choice.offset(i), part.writer);
      if (due.length > 0) part.due[part.commands] = due[i] as number;
      if (keys.length > 0) part.keys[part.commands] = keys[i] as number;
      part.commands++;
    }
  }

  /** Submits what waits for streams in which nothing is under way, or is as much as a block takes. */
  #submitDrafts(client: LoadClient): void {
    const { drafts } = client;
    for (let stream = 0; stream < drafts.length; stream++) {
      const draft = drafts[stream] as Draft;
      if (draft.commands === 0 || !client.open) continue;
      if (!client.isIdle(stream) && draft.writer.length < BLOCK_BYTES_TARGET) continue;
      const slot = this.#take(client, this.#orderedKind, draft, draft.since);
      slot.stream = stream;
      for (let i = 0; i < draft.insertions.length; i++) slot.insertions.push(draft.insertions[i] as Insertions);
      client.submit(slot, draft.writer);
      draft.clear();
    }
  }

  /** Sorts a draft's commands by their streams and submits a block to each. */
  #submitParts(client: LoadClient, kind: LoadBlockKind, draft: Draft, now: number): void {
    if (draft.commands === 0) return;
    const parts = this.#parts;
    for (let stream = 0; stream < parts.length; stream++) (parts[stream] as Draft).clear();
    this.#distribute(draft, parts, now);
    for (let stream = 0; stream < parts.length; stream++) {
      const part = parts[stream] as Draft;
      if (part.commands === 0) continue;
      const slot = this.#take(client, kind, part, now);
      slot.stream = stream;
      client.submit(slot, part.writer);
    }
  }

  /** Draws one command and writes it; returns the draft it went to, which does not count it yet. */
  #draw(client: LoadClient): Draft {
    const commands = this.#commands;
    const mix = this.#mix;
    const roll = this.#prng.u32();
    if (roll < mix.read) {
      commands.read(this.#reads.writer, this.#keys.next());
      return this.#reads;
    }
    if (roll < mix.update) {
      commands.update(this.#ordered.writer, this.#keys.next());
      return this.#ordered;
    }
    if (roll < mix.delete) {
      if (roll < mix.insert || client.deleted === client.inserted) {
        commands.insert(this.#ordered.writer, insertedKey(client.index, client.inserted++));
      } else commands.delete(this.#ordered.writer, insertedKey(client.index, client.deleted++));
      return this.#ordered;
    }
    const key = this.#keys.next();
    if (roll < mix.scan) {
      commands.scan(this.#reads.writer, key, 1 + this.#prng.below(SCAN_LENGTH_MAX));
      return this.#reads;
    }
    commands.read(this.#modifies.writer, key);
    this.#modifies.keys[this.#modifies.commands] = key;
    return this.#modifies;
  }

  #take(client: LoadClient, kind: LoadBlockKind, draft: Draft, now: number): BlockSlot {
    const slot = client.take(kind, draft.commands, now);
    slot.insertedThrough = 0;
    if (draft.due.length > 0) {
      if (slot.due.length < draft.due.length) slot.due = new Float64Array(draft.due.length);
      for (let i = 0; i < draft.commands; i++) slot.due[i] = draft.due[i] as number;
    }
    if (draft.keys.length > 0) {
      if (slot.keys.length < draft.keys.length) slot.keys = new Float64Array(draft.keys.length);
      for (let i = 0; i < draft.commands; i++) slot.keys[i] = draft.keys[i] as number;
    }
    return slot;
  }

  /** Submits the updates of a block of modifications whose reads are answered. */
  #submitModify(client: LoadClient): void {
    const slot = client.modifiesOwed.shift();
    if (slot === undefined) return;
    const { writer } = this.#ordered;
    writer.clear();
    for (let i = 0; i < slot.commands; i++) this.#commands.update(writer, slot.keys[i] as number);
    slot.kind = LoadBlockKind.ordered;
    if (this.#choice !== null) {
      this.#choice.look(slot.commands, writer.bytes, writer.view, 0);
      slot.stream = this.#choice.ofAll(slot.stream);
    }
    client.submit(slot, writer);
  }

  #fillPreload(client: LoadClient): void {
    const { writer } = this.#ordered;
    while (client.open && client.blocksOpen < this.#preloadBlocks) {
      const again = this.#keysAgain.pop();
      const firstKey = again?.firstKey ?? this.#keyNext;
      const end = again === undefined ? this.#options.keys : firstKey + again.commands;
      writer.clear();
      let key = firstKey;
      while (key < end && key - firstKey < this.#preloadCommands && writer.length < BLOCK_BYTES_TARGET) {
        this.#commands.load(writer, key++);
      }
      if (key === firstKey) return;
      if (again === undefined) this.#keyNext = key;
      else if (key < end) this.#keysAgain.push({ firstKey: key, commands: end - key });
      const slot = client.take(LoadBlockKind.ordered, key - firstKey, this.#now());
      slot.firstKey = firstKey;
      slot.insertedThrough = 0;
      client.submit(slot, writer);
    }
  }

  #loadAgain(slot: BlockSlot, error: Error): void {
    this.#keysAgain.push({ firstKey: slot.firstKey, commands: slot.commands });
    if (slot.submittedAt >= this.#preloadSlowedAt) {
      if (++this.#failuresInRow >= PRELOAD_FAILURES_MAX) return this.#finish?.(error);
      this.#preloadSlowedAt = this.#now();
      this.#preloadCommands = Math.max(PRELOAD_COMMANDS_MIN, this.#preloadCommands >> 2);
      this.#preloadBlocks = Math.max(1, this.#preloadBlocks >> 1);
    }
    this.#listAll();
  }

  // Time.

  /** Comes back when the next command is due. A client without room comes back by itself, when it has some. */
  #awaitDue(): void {
    if (this.#phase !== "warm-up" && this.#phase !== "measure") return;
    let next = Infinity;
    for (let i = 0; i < this.#clients.length; i++) {
      const { open, outstanding, arrivals } = this.#clients[i] as LoadClient;
      if (open && outstanding < this.#options.window && arrivals !== null) next = Math.min(next, arrivals.dueMs);
    }
    if (next !== Infinity) this.#rateTimer.set(next);
  }

  #onDue(): void {
    if (this.#phase !== "warm-up" && this.#phase !== "measure") return;
    const now = this.#now();
    for (let i = 0; i < this.#clients.length; i++) {
      const client = this.#clients[i] as LoadClient;
      if ((client.arrivals?.dueMs ?? Infinity) <= now) this.onRoom(client);
    }
    this.#turn.request();
  }

  #begin(phase: LoadPhase): void {
    this.#phase = phase;
    this.#phaseStart = this.#now();
    this.#init.onPhase?.(phase);
  }

  #onPhaseEnd(): void {
    if (this.#phase === "warm-up") {
      this.histogram.clear();
      this.#passed?.clear();
      this.#failed.clear();
      this.#measured = 0;
      this.#begin("measure");
      this.#phaseTimer.set(this.#phaseStart + this.#options.seconds * 1000);
    } else if (this.#phase === "measure") {
      this.#rateTimer.clear();
      // The timer may have fired late; what was answered until now belongs to the time until now.
      const now = this.#now();
      this.#measuredSeconds = (now - this.#phaseStart) / 1000;
      for (const client of this.#clients) {
        this.#behindMs = Math.max(this.#behindMs, now - (client.arrivals?.dueMs ?? now));
      }
      this.#begin("drain");
      for (const client of this.#clients) client.drop();
      // Every block is answered or fails by its deadline, so the drain ends.
      if (this.#idle()) this.#finish?.(null);
    }
  }

  #onProgress(): void {
    const { keys, warmupSeconds, seconds } = this.#options;
    const now = this.#now();
    const elapsed = (now - this.#phaseStart) / 1000;
    const length = this.#phase === "warm-up" ? warmupSeconds : seconds;
    const fraction =
      this.#phase === "preload"
        ? this.#keysWritten / keys
        : this.#phase === "drain"
          ? 1
          : Math.min(1, elapsed / length);
    const throughput = ((this.#answered - this.#answeredAtProgress) * 1000) / Math.max(1, now - this.#progressAt);
    this.#answeredAtProgress = this.#answered;
    this.#progressAt = now;
    this.#progressTimer.set(now + 1000);
    this.#init.onProgress?.({ phase: this.#phase, fraction, throughput, errors: this.#errors });
  }

  #listAll(): void {
    for (const client of this.#clients) this.onRoom(client);
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
