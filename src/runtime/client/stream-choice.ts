// Hot file: the groups of every command that goes to a cluster with groups are asked for here. No allocation per command.
import { ANY_GROUP, emptyRun, type GroupMapping, type Run, streamFor } from "../../model/index.js";

/** Tells through which stream commands go: that of their group, or g_all (0) if they concern several. */
export class StreamChoice {
  readonly #mapping: GroupMapping;
  readonly #run: Run = emptyRun();
  #masks = new Uint32Array(64);
  #turn = 0;

  constructor(mapping: GroupMapping) {
    this.#mapping = mapping;
  }

  get groups(): number {
    return this.#mapping.groups;
  }

  /** Looks at the `commands` commands that stand one behind the other from `start` on; the following ask about them. */
  look(commands: number, bytes: Uint8Array, view: DataView, start: number): void {
    const run = this.#run;
    if (run.offsets.length < commands) {
      run.offsets = new Uint32Array(2 * commands);
      this.#masks = new Uint32Array(2 * commands);
    }
    let at = start;
    for (let i = 0; i < commands; i++) {
      run.offsets[i] = at;
      at += view.getUint32(at, true);
    }
    run.bytes = bytes;
    run.view = view;
    run.count = commands;
    this.#mapping.masks(run, this.#masks);
  }

  /** The one stream for all of them. Those that may run in any group follow `near` if that is a group's, else they take turns. */
  ofAll(near: number): number {
    return streamFor(this.#masks, this.#run.count, this.groups, near > 0 ? near - 1 : this.#turn++);
  }

  /** The stream for the command of this index alone. */
  of(index: number): number {
    const mask = this.#masks[index] as number;
    if (mask === ANY_GROUP) return (this.#turn++ % this.groups) + 1;
    return (mask & (mask - 1)) === 0 ? 32 - Math.clz32(mask) : 0;
  }

  /** Where the command of this index begins. */
  offset(index: number): number {
    return this.#run.offsets[index] as number;
  }
}
