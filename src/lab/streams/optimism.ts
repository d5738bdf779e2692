import { ByteWriter } from "../../base/index.js";
import { emptyRun, type Run, UndoLog } from "../../model/index.js";
import { type Btree, BtreeOperation } from "../../service/index.js";
import type { Plan } from "./plan.js";
import { type Encoded, isDependent } from "./workload.js";

/**
 * Which commands of an optimistic plan fail their safety check, and when their conservative copies come.
 *
 * A copy is delivered in g_all so many windows after its original: in a system that answers while it goes on ordering, that is
 * how much the streams have moved on when the copy has been ordered in its turn. Which commands fail follows from the state
 * and from the streams, so that running them once over the state tells it for every replica.
 */
export interface Optimism {
  /** 1 for each command that fails. */
  readonly failed: Uint8Array;
  /** Windows from an original to its copy, the agreement's latency. */
  readonly delayWindows: number;
}

/** A command of a session that has failed, and waits for its conservative copy. */
export interface FailedCommand {
  readonly command: number;
  readonly stream: number;
  readonly sequence: number;
}

/** The copies that one batch of g_all brings: consecutive ones of a stream are one block. */
export interface Copies {
  readonly commands: number;
  readonly blocks: number;
  /** Threads that execute some of them, each at a barrier of its own. */
  readonly executors: number;
}

export const NO_COPIES: Copies = { commands: 0, blocks: 0, executors: 0 };

/**
 * Goes through an optimistic plan in an order that the merge agrees with: window by window, the groups' own commands, which
 * are told apart by `failed`, then the copies that come with g_all, from the highest stream on, as the executors of a run take
 * turns. Windows beyond the plan's bring the last copies.
 */
export function walkOptimism(
  { owner, threads, windows, windowCommands }: Plan,
  { failed, delayWindows }: Optimism,
  visitor: {
    /** Commands of this stream, in order, with the sequence number of the first. */
    own?(window: number, stream: number, commands: readonly number[], sequence: number): void;
    copies?(window: number, copies: readonly FailedCommand[]): void;
  },
): void {
  const sequences = new Float64Array(threads + 1).fill(1);
  const waiting: FailedCommand[][] = [];
  for (let window = 0; window < windows + delayWindows; window++) {
    const first = window * windowCommands;
    const end = Math.min(first + windowCommands, owner.length);
    const mine: FailedCommand[][] = [];
    for (let stream = 1; stream <= threads; stream++) {
      const commands: number[] = [];
      for (let i = first; i < end; i++) if (owner[i] === stream - 1) commands.push(i);
      const sequence = sequences[stream] as number;
      sequences[stream] = sequence + commands.length;
      visitor.own?.(window, stream, commands, sequence);
      mine.push(
        commands.flatMap((command, i) => (failed[command] === 1 ? [{ command, stream, sequence: sequence + i }] : [])),
      );
    }
    waiting.push(mine.toReversed().flat());
    const due = waiting.length > delayWindows ? (waiting.shift() as FailedCommand[]) : [];
    visitor.copies?.(window, due);
  }
}

/** By window, what its batch of g_all brings. */
export function copiesOf(plan: Plan, optimism: Optimism): Copies[] {
  const all: Copies[] = [];
  walkOptimism(plan, optimism, {
    copies(_window, copies) {
      if (copies.length === 0) {
        all.push(NO_COPIES);
        return;
      }
      const blocks = cutBlocks(copies, copies.length).length;
      all.push({ commands: copies.length, blocks, executors: new Set(copies.map(({ stream }) => stream)).size });
    },
  });
  return all;
}

/** Cuts copies into blocks: of one stream, with consecutive numbers, at most so many. */
export function cutBlocks(copies: readonly FailedCommand[], commandsMax: number): FailedCommand[][] {
  const blocks: FailedCommand[][] = [];
  let before: FailedCommand | undefined;
  for (const copy of copies) {
    const last = blocks.at(-1);
    const follows = before !== undefined && before.stream === copy.stream && before.sequence + 1 === copy.sequence;
    if (last !== undefined && follows && last.length < commandsMax) last.push(copy);
    else blocks.push([copy]);
    before = copy;
  }
  return blocks;
}

/**
 * Runs an optimistic plan over the state, in one thread and as a replica would, writes down which commands fail, and takes all
 * of it back: entries and shape of the tree are then what they were. `service` is the tree with the plan's groups.
 *
 * A command fails if its check does, or if an earlier one of its session that conflicts has failed and waits for its copy.
 */
export function foreseeFailures(service: Btree, plan: Plan, encoded: Encoded, delayWindows: number): Uint8Array {
  const { operations, keys } = plan.workload;
  const failed = new Uint8Array(operations.length);
  const undo = new UndoLog();
  const mark = undo.mark();
  const replies = new ByteWriter(256);
  const pass = new Uint8Array(1);
  const run: Run = Object.assign(emptyRun(), { bytes: encoded.bytes, view: encoded.view, count: 1 });
  /** By key the commands that wait; those that read alone conflict with none of their kind. */
  const pending = new Map<number, { count: number; writes: number }>();
  const begin = (command: number): void => {
    run.offsets = encoded.offsets.subarray(command, command + 1);
  };
  const execute = (): void => {
    replies.clear();
    service.execute(run, replies, undo);
  };
  const writes = (command: number): number => (operations[command] === BtreeOperation.read ? 0 : 1);
  walkOptimism(
    plan,
    { failed, delayWindows },
    {
      own(_window, stream, commands) {
        for (const command of commands) {
          const key = keys[command] as number;
          const earlier = pending.get(key);
          if (earlier === undefined || (earlier.writes === 0 && writes(command) === 0)) {
            // What does not change the structure passes, and what only reads leaves nothing to take back.
            if (!isDependent(operations[command] as number)) continue;
            begin(command);
            service.safetyCheck(run, stream - 1, pass);
            if (pass[0] === 1) {
              execute();
              continue;
            }
          }
          failed[command] = 1;
          const entry = earlier ?? { count: 0, writes: 0 };
          entry.count++;
          entry.writes += writes(command);
          pending.set(key, entry);
        }
      },
      copies(_window, copies) {
        for (const { command } of copies) {
          begin(command);
          execute();
          const key = keys[command] as number;
          const entry = pending.get(key) as { count: number; writes: number };
          entry.count--;
          entry.writes -= writes(command);
          if (entry.count === 0) pending.delete(key);
        }
      },
    },
  );
  service.rollback(undo, mark);
  return failed;
}

/** Share of the commands that fail. */
export function failRate({ failed }: Optimism): number {
  let count = 0;
  for (const each of failed) count += each;
  return failed.length === 0 ? 0 : count / failed.length;
}
