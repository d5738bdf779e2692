// Hot file: replays at full speed. Nothing allocates per command. Watched by the lab's own ratios.
import { assert, ByteWriter, MiB } from "../../base/index.js";
import {
  Barrier,
  type BarrierPoint,
  createOptPsmrThread,
  createPipelined,
  createPsmrThread,
  createSequential,
  type PsmrSink,
  type ThreadModel,
} from "../../execution/index.js";
import {
  type Batch,
  BATCH_HEADER_BYTES,
  batchBlocks,
  batchCommands,
  BLOCK_HEADER_BYTES,
  declaredMapping,
  emptyRun,
  type ExecutionModel,
  FAILED_REPLY_BYTES,
  optimisticMapping,
  REPLY_HEADER_BYTES,
  replyCount,
  replyStatus,
  ReplyStatus,
  type Run,
  ThreadError,
} from "../../model/index.js";
import { block, spin, type WaitPoint } from "../../platform/index.js";
import { type Btree, BtreeOperation, type WordTree } from "../../service/index.js";
import { countedWindows, NO_WINDOW, type Recording, TABLE_WORDS } from "../streams/index.js";
import { type CoreTime, coreTime } from "./core-time.js";
import type { CommandMemory, Task } from "./task.js";

/** Does a thread's part of a task, piece by piece. */
export interface Replayer {
  /** A piece; false once all is done, or while it waits at `waitPoint`. */
  step(): boolean;
  readonly done: boolean;
  readonly waitPoint: WaitPoint;
  /** When the counted part began and ended, in ns of a clock that all threads share. */
  readonly beginNs: number;
  readonly endNs: number;
  /** How long of that the thread had a core, and how long none though it was ready to run. */
  readonly ranNs: number;
  readonly waitedNs: number;
  /** How long a window took, in ns: the median of the counted ones, which does not know of what disturbed some of them. */
  readonly windowNs: number;
  /** Commands of the counted part. */
  readonly commands: number;
  /** Commands of the whole that this thread has executed and answered. */
  readonly answered: number;
}

/** Replies of about so many bytes are kept before they are forgotten. */
const REPLIES_BYTES = MiB / 4;
/** Batches that a model holds at a time, as little as a busy merge would give it. */
const QUEUED_BATCHES = 64;
/**
 * Looks at a barrier before the thread gives its core away: some tens of µs. Threads with cores of their own never get there;
 * where others want the cores too, a thread that goes on spinning takes the core from the one that it waits for.
 */
const SPINS_MAX = 20_000;
/** Longest sleep at a barrier. A wake-up that is missed costs so much, no more. */
const BLOCK_MS = 5;
const WORK = { kind: "work", budget: 4096 } as const;

const nowNs = (): number => Number(process.hrtime.bigint());

/** Stamps the moments at which a thread has passed the first and the last twelfth of its windows. */
abstract class Counted {
  beginNs = 0;
  endNs = 0;
  ranNs = 0;
  waitedNs = 0;
  abstract readonly commands: number;
  #before: CoreTime = { ranNs: 0, waitedNs: 0 };
  /** Batches, or runs, after which the counted part begins and ends. */
  #first = 0;
  #last = 0;
  #passed = 0;
  #started = false;
  /** For each counted batch or run the window it is of, and when it was done, in ms. */
  #windows: Int32Array = new Int32Array(0);
  #doneMs = new Float64Array(0);

  /** `windows`: of each batch or run the window, ascending. */
  protected countBetween(first: number, last: number, windows: Int32Array): void {
    this.#first = first;
    this.#last = last;
    this.#windows = windows;
    this.#doneMs = new Float64Array(windows.length);
  }

  get windowNs(): number {
    const lengths: number[] = [];
    let before = this.#first > 0 ? (this.#doneMs[this.#first - 1] as number) : -1;
    for (let i = this.#first; i < this.#last; i++) {
      // A window ends with its last batch.
      if (i + 1 < this.#last && this.#windows[i + 1] === this.#windows[i]) continue;
      const done = this.#doneMs[i] as number;
      if (before >= 0) lengths.push(1e6 * (done - before));
      before = done;
    }
    lengths.sort((a, b) => a - b);
    return lengths[lengths.length >> 1] ?? 0;
  }

  protected begin(): void {
    if (this.#started) return;
    this.#started = true;
    this.#stampBegin();
    this.endNs = this.beginNs;
  }

  protected passedOne(): void {
    this.#doneMs[this.#passed] = performance.now();
    this.#passed++;
    if (this.#passed === this.#first) this.#stampBegin();
    if (this.#passed !== this.#last) return;
    this.endNs = nowNs();
    const { ranNs, waitedNs } = coreTime();
    this.ranNs = ranNs - this.#before.ranNs;
    this.waitedNs = waitedNs - this.#before.waitedNs;
  }

  #stampBegin(): void {
    this.#before = coreTime();
    this.beginNs = nowNs();
  }
}

/** The batches of a thread, in the order in which it delivers them. */
export class Deliveries {
  readonly batches: Batch[] = [];
  readonly streams: number[] = [];
  readonly instances: number[] = [];
  /** The window of each, -1 for the batch that opens the session. */
  readonly windows: Int32Array;
  /** Batches in front of the counted windows, and through their end. */
  readonly first: number;
  readonly last: number;
  readonly commands: number;

  /** `own`: the stream beside g_all; 0 for a replica with one stream. */
  constructor(recording: Recording, own: number) {
    const bytes = new Uint8Array(recording.bytes);
    const view = new DataView(recording.bytes);
    const table = new Uint32Array(recording.table);
    const [from, to] = countedWindows(recording.windows);
    const counts = new Map<number, number>();
    const chunk = { bytes, view, used: bytes.length, live: 1, sealed: true };
    let first = 0;
    let last = 0;
    let commands = 0;
    const windows: number[] = [];
    for (let i = 0; i < recording.batches; i++) {
      const [stream, start, length, window] = table.subarray(i * TABLE_WORDS, (i + 1) * TABLE_WORDS) as unknown as [
        number,
        number,
        number,
        number,
      ];
      if (stream !== 0 && stream !== own) continue;
      const instance = (counts.get(stream) ?? 0) + 1;
      counts.set(stream, instance);
      const batch = {
        bytes,
        view,
        start,
        end: start + length,
        blocks: batchBlocks(view, start),
        commands: batchCommands(view, start),
        chunk,
      };
      this.batches.push(batch);
      this.streams.push(stream);
      this.instances.push(instance);
      windows.push(window === NO_WINDOW ? -1 : window);
      const early = window === NO_WINDOW || window < from;
      if (early) first = this.batches.length;
      if (early || window < to) last = this.batches.length;
      if (!early && window < to) commands += batch.commands;
    }
    this.windows = Int32Array.from(windows);
    this.first = first;
    this.last = last;
    this.commands = commands;
  }
}

const NOWHERE: WaitPoint = { words: new Int32Array(new SharedArrayBuffer(4)), index: 0, value: 0 };

/** One execution model over one stream, or one thread of P-SMR or opt-PSMR. */
class ModelReplayer extends Counted implements Replayer, PsmrSink {
  readonly commands: number;
  readonly waitPoint: BarrierPoint = { ...NOWHERE };
  done = false;
  readonly #deliveries: Deliveries;
  readonly #model: ExecutionModel | ThreadModel;
  readonly #psmr: ThreadModel | null;
  readonly #barrier: Barrier | null;
  /** One word: threads that sleep at a barrier, or are about to. Whoever changes a word they may wait for wakes them. */
  readonly #sleepers: Int32Array;
  readonly #spinsMax: number;
  readonly #writer = new ByteWriter(MiB);
  #delivered = 0;
  #executed = 0;
  answered = 0;

  constructor(deliveries: Deliveries, model: ExecutionModel | ThreadModel, task: Task, psmr: ThreadModel | null) {
    super();
    this.#deliveries = deliveries;
    this.#model = model;
    this.#psmr = psmr;
    this.#sleepers = new Int32Array(task.sleepers);
    this.#spinsMax = task.waiting === "spin" ? SPINS_MAX : 0;
    this.#barrier = psmr === null || task.parts === null ? null : new Barrier(task.parts.memory, task.threads);
    this.commands = deliveries.commands;
    this.countBetween(deliveries.first, deliveries.last, deliveries.windows);
  }

  step(): boolean {
    this.begin();
    const { batches, streams, instances } = this.#deliveries;
    while (this.#delivered < batches.length && this.#delivered - this.#executed < QUEUED_BATCHES) {
      const i = this.#delivered++;
      const batch = batches[i] as Batch;
      const [stream, instance] = [streams[i] as number, instances[i] as number];
      this.#model.step({ kind: "decided", stream, instance, batch }, this);
    }
    this.#model.step(WORK, this);
    this.done = this.#executed === batches.length;
    if (this.done) return false;
    if (this.#psmr?.waitsAt(this.waitPoint) === true && !spin(this.waitPoint, this.#spinsMax)) this.#sleep();
    return true;
  }

  executed(): void {
    this.#executed++;
    this.passedOne();
  }

  replies(): ByteWriter {
    if (this.#writer.length > REPLIES_BYTES) this.#writer.clear();
    return this.#writer;
  }

  /** A block that was refused would count as executed, and make the figures too good. */
  replied(_session: number, _position: number, at: number): void {
    const { view } = this.#writer;
    const status = replyStatus(view, at);
    if (status === ReplyStatus.ok) this.answered += replyCount(view, at);
    else if (status === ReplyStatus.failed) this.answered += passedReplies(view, at);
    else throw new ThreadError(`a recorded block was answered with status ${status}`);
  }

  readDone(): void {}
  wantWork(): void {}
  digestTaken(): void {}
  trace(): void {}

  arrived(): void {
    this.#wakeAt((this.#barrier as Barrier).arrivalWord((this.#psmr as ThreadModel).thread));
  }

  released(): void {
    this.#wakeAt((this.#barrier as Barrier).releaseWord((this.#psmr as ThreadModel).thread));
  }

  cutTaken(): void {}

  #wakeAt(word: number): void {
    const { words } = this.#barrier as Barrier;
    if (Atomics.load(this.#sleepers, 0) > 0) Atomics.notify(words, word);
  }

  #sleep(): void {
    Atomics.add(this.#sleepers, 0, 1);
    block(this.waitPoint, BLOCK_MS);
    Atomics.sub(this.#sleepers, 0, 1);
  }
}

/** Replies of a block that are not in the place of a command that has failed: those are answered once their copies have executed. */
function passedReplies(view: DataView, at: number): number {
  let passed = 0;
  let reply = at + REPLY_HEADER_BYTES;
  for (let left = replyCount(view, at); left > 0; left--) {
    const length = view.getUint32(reply, true);
    if (length > FAILED_REPLY_BYTES) passed++;
    reply += length;
  }
  return passed;
}

/** The bare service: runs as long as the windows of the streams. */
class ServiceReplayer extends Counted implements Replayer {
  readonly waitPoint = NOWHERE;
  readonly commands: number;
  done = false;
  readonly #service: Btree;
  readonly #run: Run;
  readonly #offsets: Uint32Array;
  readonly #windowCommands: number;
  readonly #writer = new ByteWriter(MiB);
  answered = 0;
  #at = 0;

  constructor(service: Btree, task: Task) {
    super();
    const { recording, commands } = task;
    this.#service = service;
    this.#run = runOver(commands);
    this.#offsets = new Uint32Array(commands.offsets);
    this.#windowCommands = Math.ceil(recording.commands / recording.windows);
    const [first, last] = countedWindows(recording.windows);
    this.countBetween(
      first,
      last,
      Int32Array.from({ length: recording.windows }, (_, i) => i),
    );
    this.commands = Math.min(last * this.#windowCommands, recording.commands) - first * this.#windowCommands;
  }

  step(): boolean {
    this.begin();
    const run = this.#run;
    run.count = Math.min(this.#windowCommands, this.#offsets.length - 1 - this.#at);
    run.offsets = this.#offsets.subarray(this.#at, this.#at + run.count);
    this.#writer.clear();
    this.#service.execute(run, this.#writer, null);
    this.#at += run.count;
    this.answered = this.#at;
    this.passedOne();
    this.done = this.#at === this.#offsets.length - 1;
    return !this.done;
  }
}

/** Operations on the tree alone: the keys of a thread are those of its group. */
class TreeReplayer extends Counted implements Replayer {
  readonly waitPoint = NOWHERE;
  readonly commands: number;
  done = false;
  readonly #tree: WordTree;
  readonly #operations: Uint8Array;
  readonly #words: Uint32Array;
  /** Operations between two looks at the clock: as many as a window has commands. */
  readonly #piece: number;
  answered = 0;
  #at = 0;
  /** Keeps the compiler from leaving out reads whose result nobody uses. */
  touched = 0;

  constructor(tree: WordTree, task: Task, own: number) {
    super();
    this.#tree = tree;
    const { recording } = task;
    const view = new DataView(recording.bytes);
    const table = new Uint32Array(recording.table);
    const operations: number[] = [];
    const words: number[] = [];
    for (let i = 0; i < recording.batches; i++) {
      if (table[i * TABLE_WORDS] !== own || table[i * TABLE_WORDS + 3] === NO_WINDOW) continue;
      forEachCommand(view, table[i * TABLE_WORDS + 1] as number, (at) => {
        operations.push(view.getUint32(at + 4, true));
        words.push(view.getUint32(at + 12, true));
      });
    }
    this.#operations = Uint8Array.from(operations);
    this.#words = Uint32Array.from(words);
    this.#piece = Math.ceil(recording.commands / recording.windows);
    const pieces = Math.ceil(words.length / this.#piece);
    const [first, last] = countedWindows(pieces);
    this.countBetween(
      first,
      last,
      Int32Array.from({ length: pieces }, (_, i) => i),
    );
    this.commands = Math.min(last * this.#piece, words.length) - first * this.#piece;
  }

  step(): boolean {
    this.begin();
    const tree = this.#tree;
    const operations = this.#operations;
    const words = this.#words;
    const end = Math.min(this.#at + this.#piece, words.length);
    for (let i = this.#at; i < end; i++) {
      const word = words[i] as number;
      const leaf = tree.leafOf(0, word);
      const cell = tree.cellOf(leaf, 0, word);
      if (operations[i] === BtreeOperation.update) tree.update(leaf, cell, 0, word, i, 0, null);
      else if (tree.read(leaf, cell, 0, word)) this.touched ^= tree.value[0] as number;
    }
    this.#at = end;
    this.answered = end;
    if (end > 0) this.passedOne();
    this.done = end === words.length;
    return !this.done;
  }
}

/** Visits where each command of a batch begins. */
function forEachCommand(view: DataView, start: number, visit: (at: number) => void): void {
  const end = start + view.getUint32(start, true);
  for (let block = start + BATCH_HEADER_BYTES; block < end; block += view.getUint32(block, true)) {
    const stop = block + view.getUint32(block, true);
    for (let at = block + BLOCK_HEADER_BYTES; at < stop; at += view.getUint32(at, true)) visit(at);
  }
}

function runOver({ bytes }: CommandMemory): Run {
  const run = emptyRun();
  run.bytes = new Uint8Array(bytes);
  run.view = new DataView(bytes);
  return run;
}

/** Executes commands one run behind the other, without anything around them. */
export function executeAll(service: Btree, commands: CommandMemory): void {
  const run = runOver(commands);
  const offsets = new Uint32Array(commands.offsets);
  const writer = new ByteWriter(MiB);
  for (let first = 0; first < offsets.length - 1; first += 1024) {
    run.count = Math.min(1024, offsets.length - 1 - first);
    run.offsets = offsets.subarray(first, first + run.count);
    writer.clear();
    service.execute(run, writer, null);
  }
}

/** What does the part of a thread. `tree` is the view for bare operations. */
export function createReplayer(task: Task, thread: number, service: Btree, tree: WordTree): Replayer {
  switch (task.system) {
    case "tree":
      return new TreeReplayer(tree, task, thread + 1);
    case "none":
      return new ServiceReplayer(service, task);
    case "sequential":
    case "pipelined": {
      const model = task.system === "sequential" ? createSequential(service) : createPipelined(service);
      return new ModelReplayer(new Deliveries(task.recording, 0), model, task, null);
    }
    case "psmr": {
      assert(task.parts !== null, "P-SMR has parts that its threads share");
      const mapping = declaredMapping(service, task.threads);
      const model = createPsmrThread(task.parts, thread, service, mapping, { barrier: task.barrier });
      return new ModelReplayer(new Deliveries(task.recording, thread + 1), model, task, model);
    }
    case "opt-psmr": {
      assert(task.parts !== null, "opt-PSMR has parts that its threads share");
      const mappings = {
        conservative: declaredMapping(service, task.threads),
        optimistic: optimisticMapping(service, task.threads),
      };
      const model = createOptPsmrThread(task.parts, thread, service, mappings, { barrier: task.barrier });
      return new ModelReplayer(new Deliveries(task.recording, thread + 1), model, task, model);
    }
  }
}
