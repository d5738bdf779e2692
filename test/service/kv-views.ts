/** The views that threads have of kv in partitions. */

import type { SharedService, SharedServiceModule, SnapshotSource } from "#src/model/index.js";
import { createSharedKv, type PartitionedKv, sharedKv, STORE_LIMITS } from "#src/service/index.js";
import { type Command, executeRun, type Reply, runOf } from "./kv-command.js";
import { type BarrierHooks, SharedViews } from "./shared-views.js";

/** With less address space, since tests make many. */
const smallKv: SharedServiceModule = {
  ...sharedKv,
  createShared: (groups) => createSharedKv(groups, STORE_LIMITS, 2 ** 32),
};

export class KvViews extends SharedViews {
  constructor(threads: number, parts: readonly Uint8Array[] = []) {
    super(smallKv, threads, parts);
  }

  route(commands: readonly Command[], pick: number): { readonly stream: number; readonly mask: number } {
    return this.routeOf(runOf(commands), pick);
  }

  /** A batch in the stream of a thread. */
  own(thread: number, time: number, commands: readonly Command[]): Reply[] {
    return play(this.view(thread), time, commands);
  }

  barrier(mask: number, time: number, commands: readonly Command[], hooks: BarrierHooks = {}): Reply[] {
    return this.meet(mask, (view) => play(view, time, commands), hooks);
  }

  snapshot(): SnapshotSource[] {
    return this.snapshotParts();
  }

  /** The digest, where every invariant is checked as well. */
  digest(): string {
    return this.digestNow((view) => (view as PartitionedKv).check());
  }
}

function play(view: SharedService, time: number, commands: readonly Command[]): Reply[] {
  view.advance(time, null);
  const run = runOf(commands);
  run.time = time;
  run.seed = commands.length;
  return executeRun(view, run);
}
