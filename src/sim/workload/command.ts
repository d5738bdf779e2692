import { assert, type ByteWriter, type Prng } from "../../base/index.js";

/** One command of the workload: as the history names it, and as the service reads it and answers it. */
export interface SimCommand {
  /** Null: the history does not hold it. */
  readonly op: string | null;
  readonly args: readonly CommandArgument[];
  readonly read: boolean;
  /** What may happen by itself at any time after this command took effect, as an operation of the history; or never. */
  readonly mayFollow?: { readonly op: string; readonly args: readonly string[] };
  /** The command that its client sends next, given the decoded reply. */
  followUp?(reply: unknown): SimCommand;
  /** Appends the command to a block. */
  encode(writer: ByteWriter): void;
  /** The reply at `at` as the history holds it. */
  decode(bytes: Uint8Array, view: DataView, at: number): unknown;
}

/** As histories hold it: a command in a transaction is the list of its name and arguments. */
export type CommandArgument = string | number | null | readonly CommandArgument[];

/** Draws commands. Written values are unique, so that a read names the write it saw. */
export interface CommandSource {
  next(prng: Prng, client: string): SimCommand;
  /** The outcome of a command is unknown. */
  onUnknown(command: SimCommand): void;
  /** Reads of everything there is, for the end of a run. */
  finalReads(): SimCommand[];
  /** For a source that notes when things happen: virtual time in ms, from the beginning of the world. */
  begin?(now: () => number): void;
  /** For a source that judges the outcome itself, when all is over: what it objects to, null for nothing. */
  verdict?(): string | null;
}

/** Writes of unknown outcome after which a key is left alone. */
const UNKNOWN_WRITES_MAX = 6;

/**
 * Names of keys, of which each stands for a key of the service. A write of unknown outcome may take effect at any later
 * time, and each one doubles the histories that a checker has to consider. So a key that has met a few of them is replaced
 * by a new one, `t1` by `t1'`.
 */
export class KeyNames {
  readonly #keys: string[];
  readonly #retired: string[] = [];
  readonly #unknown = new Map<string, number>();

  constructor(prefix: string, count: number) {
    this.#keys = Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
  }

  get current(): readonly string[] {
    return this.#keys;
  }

  /** Those in use and those that were, for the end of a run. */
  get all(): readonly string[] {
    return [...this.#retired, ...this.#keys];
  }

  pick(prng: Prng): string {
    return prng.pick(this.#keys);
  }

  /** A write to this key has an unknown outcome. Names that are none of these keys are ignored. */
  noteUnknown(key: string): void {
    const index = this.#keys.indexOf(key);
    if (index < 0) return;
    const count = (this.#unknown.get(key) ?? 0) + 1;
    this.#unknown.set(key, count);
    if (count < UNKNOWN_WRITES_MAX) return;
    this.#retired.push(key);
    this.#keys[index] = `${key}'`;
    assert(this.#keys[index] !== key, "a retired key gets another name");
  }
}
