/** The module of a replay's threads: thread 0 fills the tree and shares it, then each does its part of one task after another. */
import { assert } from "../../base/index.js";
import { StepOutcome, type ThreadBody, type ThreadContext, type WaitPoint } from "../../platform/index.js";
import { Btree, WordTree } from "../../service/index.js";
import { filledTree, foreseeFailures, type KeySpace, type Mapping, serviceOptions } from "../streams/index.js";
import { createReplayer, executeAll, type Replayer } from "./replayer.js";
import {
  bareView,
  type CommandMemory,
  type Foresee,
  type FromReplayThread,
  isParallel,
  type ReplayThreadData,
  type Task,
  type ToReplayThread,
  TREE_VIEWS,
} from "./task.js";

/** Address space of the tree, of which pages are taken as they are written. */
const TREE_BYTES_MAX = 4 * 2 ** 30;

export function createThread(context: ThreadContext): ThreadBody {
  return new ReplayThread(context);
}

class ReplayThread implements ThreadBody {
  readonly #context: ThreadContext;
  readonly #thread: number;
  readonly #keys: number;
  readonly #space: KeySpace;
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
    const { thread, keys, space } = context.data as ReplayThreadData;
    this.#context = context;
    this.#thread = thread;
    this.#keys = keys;
    this.#space = space;
    if (thread > 0) return;
    const service = filledTree(keys, space);
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
    this.#takeBack();
    if (asked.kind === "foresee") this.#foresee(asked);
    else this.#begin(asked);
  }

  #foresee({ plan, encoded, delayWindows }: Foresee): void {
    const service = this.#regrouped(plan.threads, plan.mapping);
    this.#say({ kind: "foreseen", failed: foreseeFailures(service, plan, encoded, delayWindows) });
  }

  #begin(task: Task): void {
    const { system, threads, mapping } = task;
    // Sequential execution has one group; of bare operations and the bare service nobody asks for groups.
    const service = this.#regrouped(isParallel(system) ? threads : 1, mapping);
    this.#cleanup = this.#thread === 0 ? task.cleanup : null;
    this.#task = task;
    this.#replayer = createReplayer(task, this.#thread, service, this.#tree as WordTree);
    this.#start = new Int32Array(task.start);
    // What thread 0 has changed since the task before is there for all views before anybody begins.
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
    const { beginNs, endNs, waitedNs, ranNs, windowNs, commands, answered } = replayer;
    this.#task = null;
    this.#replayer = null;
    // A single thread meets nobody at barriers, where the others of several have found its changes.
    this.#service?.publish(task.threads === 1);
    this.#say({ kind: "done", beginNs, endNs, waitedNs, ranNs, windowNs, commands, answered });
    return StepOutcome.idle;
  }

  #waitAt(point: WaitPoint): StepOutcome {
    Object.assign(this.#wait, point);
    return StepOutcome.wait;
  }

  /**
   * Takes the tree back to the keys that it had before the latest task, once all threads are done with that. Every insert of a stream added
   * a key and every delete removed one, or this finds others than there were.
   */
  #takeBack(): void {
    const service = this.#service as Btree;
    if (this.#cleanup === null) return;
    service.adopt();
    executeAll(service, this.#cleanup);
    this.#cleanup = null;
    const { entries } = service.size();
    assert(entries === this.#keys, `the tree has ${entries} keys after a stream, not ${this.#keys}`);
  }

  #regrouped(groups: number, mapping: Mapping): Btree {
    return (this.#service as Btree).regrouped(serviceOptions(this.#keys, groups, mapping, this.#space));
  }

  #say(message: FromReplayThread): void {
    this.#context.post(message);
  }
}
