/** The views that threads have of one partitioned kv, in turns that a test chooses: batches of single threads, and barriers. */

import { maskOfAll, type SnapshotSource, streamFor } from "#src/model/index.js";
import { createSharedKv, kvMapping, type PartitionedKv, sharedKv, STORE_LIMITS } from "#src/service/index.js";
import { type Command, digestOf, executeRun, type Reply, restoreInto, runOf } from "./kv-command.js";

const MEMORY_BYTES_MAX = 2 ** 32;

export class KvViews {
  readonly threads: number;
  readonly everybody: number;
  readonly views: PartitionedKv[];

  /** With the parts of a checkpoint it begins with that state. */
  constructor(threads: number, parts: readonly Uint8Array[] = []) {
    this.threads = threads;
    this.everybody = maskOfAll(threads);
    const root = createSharedKv(threads, STORE_LIMITS, MEMORY_BYTES_MAX);
    if (parts[0] !== undefined) restoreInto(root.restore(), parts[0], [1000]);
    const description = root.share();
    this.views = [root];
    for (let thread = 1; thread < threads; thread++) {
      const view = sharedKv.attach(description, thread, threads) as PartitionedKv;
      const part = parts[thread];
      if (part !== undefined) restoreInto(view.restore(), part, [313]);
      this.views.push(view);
    }
  }

  view(thread: number): PartitionedKv {
    return this.views[thread] as PartitionedKv;
  }

  /** The stream that these commands go through: 0 for that of all groups, i + 1 for that of thread i; and the groups they concern. */
  route(commands: readonly Command[], pick: number): { readonly stream: number; readonly mask: number } {
    const masks = new Uint32Array(commands.length);
    kvMapping(this.threads).masks(runOf(commands), masks);
    const mask = masks.reduce((union, one) => union | one, 0) & 0x7fffffff;
    return { stream: streamFor(masks, commands.length, this.threads, pick), mask: mask === 0 ? 1 : mask };
  }

  /** A batch in the stream of a thread. */
  own(thread: number, time: number, commands: readonly Command[]): Reply[] {
    return play(this.view(thread), time, commands);
  }

  /**
   * A batch that concerns the groups of a mask. `between` runs when all have arrived and nobody has executed. `inside` runs when the
   * executor has executed, `behind` for each other thread as it goes on.
   */
  barrier(
    mask: number,
    time: number,
    commands: readonly Command[],
    hooks: { between?: () => void; inside?: (thread: number) => void; behind?: (thread: number) => void } = {},
  ): Reply[] {
    const members = this.views.map((_, thread) => thread).filter((thread) => (mask & (1 << thread)) !== 0);
    const [executor = 0, ...others] = members;
    for (const thread of [...others, executor]) this.view(thread).publish(false, 1 << thread);
    hooks.between?.();
    const view = this.view(executor);
    view.adopt(mask);
    const replies = play(view, time, commands);
    hooks.inside?.(executor);
    view.publish(mask === this.everybody, mask);
    for (const thread of others) {
      this.view(thread).adopt(1 << thread);
      hooks.behind?.(thread);
    }
    return replies;
  }

  /** Each thread removes what has expired by then. */
  sweep(time: number): void {
    for (const view of this.views) view.advance(time, null);
  }

  /** Begins a snapshot of every part, at a barrier over all threads. */
  snapshot(time: number): SnapshotSource[] {
    const sources: SnapshotSource[] = [];
    const begin = (thread: number): void => {
      sources[thread] = this.view(thread).snapshot();
    };
    this.barrier(this.everybody, time, [], { inside: begin, behind: begin });
    return sources;
  }

  /** The digest at a barrier over all threads, where every invariant is checked as well. */
  digest(time: number): string {
    let digest = "";
    this.barrier(this.everybody, time, [], {
      inside: () => {
        this.view(0).check();
        digest = digestOf(this.view(0));
      },
    });
    return digest;
  }
}

function play(view: PartitionedKv, time: number, commands: readonly Command[]): Reply[] {
  view.advance(time, null);
  const run = runOf(commands);
  run.time = time;
  run.seed = commands.length;
  return executeRun(view, run);
}
