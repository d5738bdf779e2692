/** The module of a replay's threads: thread 0 fills the tree and shares it, then each does its part of one task after another. */
import { assert, ByteWriter } from "../../base/index.js";
import { emptyRun } from "../../model/index.js";
import { StepOutcome, type ThreadBody, type ThreadContext, type WaitPoint } from "../../platform/index.js";
import { Btree, BTREE_COMMAND_BYTES, BtreeOperation, WordTree } from "../../service/index.js";
import { keyWord, serviceOptions, walkKeys } from "../streams/index.js";
import { createReplayer, executeAll, type Replayer } from "./replayer.js";
import {
  bareView,
  type CommandMemory,
  type FromReplayThread,
  type ReplayThreadData,
  type Task,
  type ToReplayThread,
  TREE_VIEWS,
} from "./task.js";

const FILL_COMMANDS = 4096;
/** Address space of the tree, of which pages are taken as they are written. */
const TREE_BYTES_MAX = 4 * 2 ** 30;

export function createThread(context: ThreadContext): ThreadBody {
  return new ReplayThread(context);
}

class ReplayThread implements ThreadBody {
  readonly #context: ThreadContext;
  readonly #thread: number;
  readonly #keys: number;
  #service: Btree | null = null;
  #tree: WordTree | null = null;
  #task: Task | null = null;
  #replayer: Replayer | null = null;
  /** What takes the tree back to what it was before the latest task; thread 0 does so once all threads are done with it. */
  #cleanup: CommandMemory | null = null;
  /** The word at which the threads of a task meet, and how many come. */
  #start: Int32Array = new Int32Array(new SharedArrayBuffer(4));
  #wait: { words: Int32Array; index: number; value: number } = { words: this.#start, index: 0, value: 0 };

  constructor(context: ThreadContext) {
    const { thread, keys } = context.data as ReplayThreadData;
    this.#context = context;
    this.#thread = thread;
    this.#keys = keys;
    if (thread > 0) return;
    const service = fill(keys);
    const tree = service.share(TREE_VIEWS, TREE_BYTES_MAX);
    this.#service = service;
    this.#tree = WordTree.attach(tree, bareView(thread));
    this.#say({ kind: "shared", tree });
  }

  get waitPoint(): WaitPoint {
    return this.#wait;
  }

  onMessage(message: unknown): void {
    const asked = message as ToReplayThread;
    if (asked.kind === "attach") {
      this.#service = Btree.attach(asked.tree, this.#thread);
      this.#tree = WordTree.attach(asked.tree, bareView(this.#thread));
      this.#say({ kind: "attached" });
      return;
    }
    assert(this.#task === null, "one task at a time");
    const { system, threads, mapping } = asked;
    // Sequential execution has one group; of bare operations and the bare service nobody asks for groups.
    const options = serviceOptions(this.#keys, system === "psmr" ? threads : 1, mapping);
    const service = (this.#service as Btree).regrouped(options);
    if (this.#cleanup !== null) this.#cleanUp(this.#service as Btree, this.#cleanup);
    this.#cleanup = this.#thread === 0 ? asked.cleanup : null;
    this.#task = asked;
    this.#replayer = createReplayer(asked, this.#thread, service, this.#tree as WordTree);
    this.#start = new Int32Array(asked.start);
    // What the cleanup of the task before has changed is there for all views before anybody begins.
    if (this.#thread === 0) service.publish(true);
    Atomics.add(this.#start, 0, 1);
    Atomics.notify(this.#start, 0);
  }

  step(): StepOutcome {
    const task = this.#task;
    const replayer = this.#replayer;
    if (task === null || replayer === null) return StepOutcome.idle;
    if (this.#start.length > 0) {
      const here = Atomics.load(this.#start, 0);
      if (here < task.threads) return this.#waitAt({ words: this.#start, index: 0, value: here });
      this.#start = new Int32Array(0);
      this.#service?.adopt();
      this.#tree?.adopt();
    }
    if (replayer.step()) return StepOutcome.more;
    if (!replayer.done) return this.#waitAt(replayer.waitPoint);
    const { beginNs, endNs, waitedNs, windowNs, commands, answered } = replayer;
    this.#task = null;
    this.#replayer = null;
    this.#say({ kind: "done", beginNs, endNs, waitedNs, windowNs, commands, answered });
    return StepOutcome.idle;
  }

  #waitAt(point: WaitPoint): StepOutcome {
    Object.assign(this.#wait, point);
    return StepOutcome.wait;
  }

  /** Every insert of a stream added a key and every delete removed one, or this finds other keys than there were. */
  #cleanUp(service: Btree, deletes: CommandMemory): void {
    executeAll(service, deletes);
    const { entries } = service.size();
    assert(entries === this.#keys, `the tree has ${entries} keys after a stream, not ${this.#keys}`);
  }

  #say(message: FromReplayThread): void {
    this.#context.post(message);
  }
}

/** A service with this many keys, inserted in an order without pattern, as a tree in use has been. */
function fill(keys: number): Btree {
  const service = new Btree({ groupDescent: true });
  const writer = new ByteWriter(32 * FILL_COMMANDS);
  const replies = new ByteWriter(64 * FILL_COMMANDS);
  const run = emptyRun();
  const length = BTREE_COMMAND_BYTES[BtreeOperation.insert] as number;
  run.bytes = writer.bytes;
  run.view = writer.view;
  run.offsets = Uint32Array.from({ length: FILL_COMMANDS }, (_, i) => i * length);
  const next = walkKeys(keys, 0);
  for (let first = 0; first < keys; first += FILL_COMMANDS) {
    run.count = Math.min(FILL_COMMANDS, keys - first);
    for (let i = 0; i < run.count; i++) {
      const at = i * length;
      run.view.setUint32(at, length, true);
      run.view.setUint32(at + 4, BtreeOperation.insert, true);
      run.view.setUint32(at + 8, 0, true);
      run.view.setUint32(at + 12, keyWord(2 * next(), keys), true);
      run.view.setUint32(at + 16, first + i, true);
      run.view.setUint32(at + 20, 0, true);
    }
    replies.clear();
    service.execute(run, replies, null);
  }
  assert(service.size().entries === keys, `the tree has ${service.size().entries} of ${keys} keys`);
  return service;
}
