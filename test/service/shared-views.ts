/** The views that threads have of one service, in turns that a test chooses: batches of single threads, and barriers. */

import {
  maskOfAll,
  type Run,
  type SharedService,
  type SharedServiceModule,
  type SharedServiceRoot,
  type SnapshotSource,
  streamFor,
} from "#src/model/index.js";
import { digestOf, restoreInto } from "./kv-command.js";

export interface BarrierHooks {
  /** All have arrived and nobody has executed. */
  readonly between?: () => void;
  /** The executor has executed. */
  readonly inside?: (thread: number) => void;
  /** Another thread goes on. */
  readonly behind?: (thread: number) => void;
  /** Which of those that take part executes; the first by default. */
  readonly executor?: number;
}

export class SharedViews {
  readonly threads: number;
  readonly everybody: number;
  readonly views: SharedService[];
  readonly #module: SharedServiceModule;

  /** With the parts of a checkpoint it begins with that state. */
  constructor(module: SharedServiceModule, threads: number, parts: readonly Uint8Array[] = []) {
    this.#module = module;
    this.threads = threads;
    this.everybody = maskOfAll(threads);
    const root: SharedServiceRoot = module.createShared(threads);
    if (parts[0] !== undefined) restoreInto(root.restore(), parts[0], [1000]);
    const description = root.share();
    this.views = [root];
    for (let thread = 1; thread < threads; thread++) {
      const view = module.attach(description, thread, threads);
      const part = parts[thread];
      if (part !== undefined) restoreInto(view.restore(), part, [313]);
      this.views.push(view);
    }
  }

  view(thread: number): SharedService {
    return this.views[thread] as SharedService;
  }

  /** The stream that a run goes through: 0 for that of all groups, i + 1 for that of thread i; and the groups it concerns. */
  routeOf(
    run: Run,
    pick: number,
    mapping = this.#module.mapping(this.threads),
  ): { readonly stream: number; readonly mask: number } {
    const masks = new Uint32Array(run.count);
    mapping.masks(run, masks);
    const mask = masks.reduce((union, one) => union | one, 0) & 0x7fffffff;
    return { stream: streamFor(masks, run.count, this.threads, pick), mask: mask === 0 ? 1 : mask };
  }

  /** A batch that concerns the groups of a mask, which the executor's view executes. */
  meet<T>(mask: number, execute: (view: SharedService) => T, hooks: BarrierHooks = {}): T {
    const members = this.views.map((_, thread) => thread).filter((thread) => (mask & (1 << thread)) !== 0);
    const { executor = members[0] ?? 0 } = hooks;
    const others = members.filter((thread) => thread !== executor);
    for (const thread of [...others, executor]) this.view(thread).publish(false, 1 << thread);
    hooks.between?.();
    const view = this.view(executor);
    view.adopt(mask);
    const result = execute(view);
    hooks.inside?.(executor);
    view.publish(mask === this.everybody, mask);
    for (const thread of others) {
      this.view(thread).adopt(1 << thread);
      hooks.behind?.(thread);
    }
    return result;
  }

  /** Each thread removes what has expired by then. */
  sweep(time: number): void {
    for (const view of this.views) view.advance(time, null);
  }

  /** Begins a snapshot of every part, at a barrier over all threads. */
  snapshotParts(): SnapshotSource[] {
    const sources: SnapshotSource[] = [];
    const begin = (thread: number): void => {
      sources[thread] = this.view(thread).snapshot();
    };
    this.meet(this.everybody, () => undefined, { inside: begin, behind: begin });
    return sources;
  }

  /** The digest at a barrier over all threads; `check` looks at what it likes there. */
  digestNow(check: (view: SharedService) => void = () => {}): string {
    return this.meet(this.everybody, (view) => {
      check(view);
      return digestOf(view);
    });
  }
}
