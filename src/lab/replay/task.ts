import type { TreeDescription } from "../../service/index.js";
import type { PsmrParts } from "../../execution/index.js";
import type { BarrierKind, Encoded, KeySpace, Mapping, Plan, Recording } from "../streams/index.js";

/**
 * What runs the commands of a replay:
 *
 * - `tree`: bare operations on the tree, nothing else; with two threads each has half of the keys.
 * - `none`: the service without replication: runs of commands, replies, no batches, no sessions.
 * - `sequential`, `pipelined`: state machine replication with one stream.
 * - `psmr`: a stream and a thread for each group, and one for all.
 * - `opt-psmr`: the same with OC-G, safety checks, and conservative copies of what fails them.
 */
export type System = "tree" | "none" | "sequential" | "pipelined" | "psmr" | "opt-psmr";

/** Whether a system has threads that meet at barriers. */
export const isParallel = (system: System): boolean => system === "psmr" || system === "opt-psmr";

/** How threads wait at a barrier: spinning as long as they have cores of their own, or asleep at once. */
export type Waiting = "spin" | "sleep";

/** What a thread of a replay is started with. */
export interface ReplayThreadData {
  /** 0 or 1. Thread 0 fills the tree and shares it. */
  readonly thread: number;
  readonly keys: number;
  readonly space: KeySpace;
}

export interface Task {
  readonly kind: "task";
  readonly system: System;
  readonly threads: number;
  readonly barrier: BarrierKind;
  readonly waiting: Waiting;
  readonly mapping: Mapping;
  readonly recording: Recording;
  /** Commands of `none` and `tree`; the latter reads keys and operations out of them. */
  readonly commands: CommandMemory;
  /** What takes the tree back to the keys that it had. */
  readonly cleanup: CommandMemory;
  readonly parts: PsmrParts | null;
  /** One word, at which the threads meet before they begin. */
  readonly start: SharedArrayBuffer;
  /** One word: threads that sleep at a barrier. */
  readonly sleepers: SharedArrayBuffer;
}

/** Commands one behind the other in shared memory. */
export interface CommandMemory {
  readonly bytes: SharedArrayBuffer;
  /** A word a command and one more: where each begins and the last ends. */
  readonly offsets: SharedArrayBuffer;
}

/** Which commands of a plan will fail, as the tree is now: asked of thread 0 when no task is under way. */
export interface Foresee {
  readonly kind: "foresee";
  readonly plan: Plan;
  readonly encoded: Encoded;
  readonly delayWindows: number;
}

export type ToReplayThread = { readonly kind: "attach"; readonly tree: TreeDescription } | Foresee | Task;

export type FromReplayThread =
  /** Thread 0 has filled the tree. */
  | { readonly kind: "shared"; readonly tree: TreeDescription }
  | { readonly kind: "attached" }
  | { readonly kind: "foreseen"; readonly failed: Uint8Array }
  /**
   * This thread has done its part: when it passed the first and the last twelfth, in ns of the machine's monotonic clock, and
   * how long it had a core in between, and how long none though it was ready to run.
   */
  | {
      readonly kind: "done";
      readonly beginNs: number;
      readonly endNs: number;
      readonly ranNs: number;
      readonly waitedNs: number;
      /** Median of what its windows took. */
      readonly windowNs: number;
      readonly commands: number;
      /** Commands that this thread has executed, of the whole stream. */
      readonly answered: number;
    };

/** Views of the tree: one for the service of each thread, one for the bare operations of each. */
export const TREE_VIEWS = 4;
export const bareView = (thread: number): number => 2 + thread;
