// Hot file: every thread passes each command of g_all and of its own stream through here. Nothing allocates but growth. Watched
// by bench/psmr.mjs.
import {
  type Batch,
  BATCH_HEADER_BYTES,
  BLOCK_HEADER_BYTES,
  blockCommands,
  BlockKind,
  blockKind,
  blockLength,
  blockStream,
  emptyRun,
  type GroupMapping,
  maskOfAll,
  MAPPED_GROUPS_MAX,
  type Run,
  runIn,
  unionOf,
} from "../../model/index.js";

/** Asks the mapping of commands to groups, for whole batches and runs. */
export class Gamma {
  readonly #mapping: GroupMapping;
  readonly #optimistic: boolean;
  readonly #run: Run = emptyRun();
  #masks = new Uint32Array(64);
  /** Of the batch that `of` was asked about: whether it has more than marks and commands that failed. */
  ordinary = false;
  /** How many blocks of commands that failed it has of each thread, and which threads those are. */
  readonly failed = new Uint32Array(MAPPED_GROUPS_MAX);
  failedOf = 0;

  /** `optimistic` says that threads execute commands that failed in parallel mode (opt-PSMR); else those concern nobody. */
  constructor(mapping: GroupMapping, optimistic: boolean) {
    this.#mapping = mapping;
    this.#optimistic = optimistic;
  }

  /**
   * γ of a batch of g_all: the threads that a barrier in front of it has to bring together, 0 for none. Commands that failed
   * concern the thread that has their session as well. Blocks that are no commands concern all, but marks of coordinators
   * nobody. It depends on the batch alone, so that all threads find the same.
   */
  of(batch: Batch): number {
    const { view } = batch;
    const all = maskOfAll(this.#mapping.groups);
    let gamma = 0;
    let at = batch.start + BATCH_HEADER_BYTES;
    this.ordinary = false;
    if (this.failedOf !== 0) this.failed.fill(0);
    this.failedOf = 0;
    for (let i = 0; i < batch.blocks && (gamma !== all || this.#optimistic); i++) {
      const kind = blockKind(view, at);
      if (kind === BlockKind.commands) {
        this.ordinary = true;
        if (gamma !== all) gamma |= this.#ofCommands(batch, at);
      } else if (kind === BlockKind.conservative) gamma |= this.#ofFailed(batch, at, gamma === all);
      else if (kind !== BlockKind.mergePoint && kind !== BlockKind.skip) {
        this.ordinary = true;
        gamma = all;
      }
      at += blockLength(view, at);
    }
    return gamma;
  }

  /** Whether all commands of a run may execute in the thread of group `group` alone. */
  runsIn(group: number, run: Run): boolean {
    this.#reserve(run.count);
    this.#mapping.masks(run, this.#masks);
    return runIn(group, this.#masks, run.count);
  }

  /** The same of a block of commands that failed; nobody's if there is no such thread. */
  #ofFailed(batch: Batch, at: number, known: boolean): number {
    const thread = blockStream(batch.view, at) - 1;
    if (!this.#optimistic || thread < 0 || thread >= this.#mapping.groups) return 0;
    this.failed[thread] = (this.failed[thread] as number) + 1;
    this.failedOf |= 1 << thread;
    return known ? 0 : (1 << thread) | this.#ofCommands(batch, at);
  }

  #ofCommands(batch: Batch, at: number): number {
    const run = this.#run;
    const count = blockCommands(batch.view, at);
    if (run.offsets.length < count) run.offsets = new Uint32Array(Math.max(count, 2 * run.offsets.length));
    this.#reserve(count);
    const { offsets } = run;
    let offset = at + BLOCK_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      offsets[i] = offset;
      offset += batch.view.getUint32(offset, true);
    }
    run.bytes = batch.bytes;
    run.view = batch.view;
    run.count = count;
    this.#mapping.masks(run, this.#masks);
    return unionOf(this.#masks, count);
  }

  #reserve(count: number): void {
    if (this.#masks.length < count) this.#masks = new Uint32Array(Math.max(count, 2 * this.#masks.length));
  }
}
