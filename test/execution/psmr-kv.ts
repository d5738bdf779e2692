/** P-SMR over kv in partitions: plans of commands with expiries and watches, and a thread that executes its part of one. */

import { ByteWriter, Prng } from "#src/base/index.js";
import {
  type BarrierPoint,
  createPsmrThread,
  type Cut,
  type PsmrOptions,
  type PsmrParts,
  type PsmrSink,
  type PsmrThread,
} from "#src/execution/index.js";
import {
  type Batch,
  BATCH_BLOCKS_MAX,
  BatchArena,
  beginBlock,
  BlockKind,
  type Digest,
  endBlock,
  positionOf,
  type SharedService,
} from "#src/model/index.js";
import { kvMapping, KvOperation as O, partitionOf, SetFlag } from "#src/service/index.js";
import { type Command, writeCommand } from "../service/kv-command.js";
import { command, get, set, setMs, START, transaction, unwatch, watch } from "../service/kv-random.js";
import { type Delivery, makeBatch } from "./psmr-plan.js";

export interface KvPlanOptions {
  readonly threads: number;
  readonly seed: number;
  /** Batches of g_all, and of each group, and keys. */
  readonly all: number;
  readonly own: number;
  readonly keys: number;
}

/** What each thread delivers, in order. */
export type KvPlan = readonly (readonly Delivery[])[];

/** Commands of keys of one thread. */
function ownCommand(prng: Prng, keys: readonly string[]): Command {
  const key = prng.pick(keys);
  const value = "v".repeat(prng.below(prng.chance(0.1) ? 2000 : 30));
  switch (prng.below(9)) {
    case 0:
      return command(O.delete, [key, prng.pick(keys)]);
    case 1:
      return setMs(key, value, 1 + prng.below(200));
    case 2:
      return command(O.append, [key, value]);
    case 3:
      return command(O.increment, [`n${key}`, "3"]);
    case 4:
      return command(O.getMany, [key, prng.pick(keys)]);
    case 5:
      return transaction(0, get(key), set(prng.pick(keys), value), command(O.exists, [key]));
    case 6:
      return command(O.set, [key, value], SetFlag.onlyNew);
    case 7:
      return get(key);
    default:
      return set(key, value);
  }
}

/** Commands of keys of any threads, and of all of them. */
function anyCommand(prng: Prng, keys: readonly (readonly string[])[]): Command {
  const [a, b] = [prng.pick(prng.pick(keys)), prng.pick(prng.pick(keys))];
  const watched = 1 + prng.below(4);
  switch (prng.below(14)) {
    case 0:
      return command(O.count, []);
    case 1:
      return command(O.range, [a, b]);
    case 2:
      return prng.chance(0.2) ? command(O.clear, []) : command(O.rangeCount, [a, b]);
    case 3:
      return watch(0, a, b);
    case 4:
      return transaction(watched, set(a, "transaction"), get(b));
    case 5:
      return prng.chance(0.5) ? unwatch(watched) : command(O.randomKey, []);
    case 6:
      return command(O.scan, ["0", "20"]);
    case 7:
      return command(O.rename, [a, b]);
    case 8:
      return command(O.delete, [a, b]);
    case 9:
      return command(O.getMany, [a, b]);
    case 10:
      return ownCommand(prng, prng.pick(keys));
    default:
      return command(O.setMany, [a, "many", b, "v".repeat(prng.below(100))]);
  }
}

export function makeKvPlan({ threads, seed, all, own, keys }: KvPlanOptions): KvPlan {
  const prng = new Prng(seed);
  const arena = new BatchArena();
  const session = positionOf(1, 0);
  const mine: string[][] = Array.from({ length: threads }, () => []);
  for (let i = 0; i < keys || mine.some((list) => list.length < 3); i++) {
    // Whatever `increment` names belongs to the same thread, or it would be another command.
    const key = `key:${i}`;
    const partition = (name: string): number => partitionOf(Buffer.from(name), 0, name.length, threads);
    if (partition(key) === partition(`n${key}`)) mine[partition(key)]?.push(key);
  }
  let time = START;
  const tick = (): number => (time += prng.below(8));
  const next = Array.from({ length: threads + 1 }, () => 1);
  const batch = (stream: number): Batch => {
    const blocks: Uint8Array[] = [];
    for (let left = prng.below(4); left > 0; left--) {
      const count = 1 + prng.below(5);
      const writer = new ByteWriter();
      const sequence = next[stream] as number;
      next[stream] = sequence + count;
      const at = beginBlock(writer, BlockKind.commands, session, sequence, sequence - 1, stream);
      for (let i = 0; i < count; i++) {
        const made = stream === 0 ? anyCommand(prng, mine) : ownCommand(prng, mine[stream - 1] as string[]);
        writeCommand(writer, made);
      }
      endBlock(writer, at, count);
      blocks.push(writer.toBytes());
    }
    if (stream === 0 && prng.chance(0.1)) blocks.push(control(BlockKind.digest));
    return makeBatch(arena, blocks, tick());
  };
  const whole: Batch[] = [makeBatch(arena, [control(BlockKind.openSession)], tick())];
  for (let i = 0; i < all; i++) whole.push(batch(0));
  whole.push(makeBatch(arena, [control(BlockKind.digest)], tick()));
  return Array.from({ length: threads }, (_, thread) => {
    const rest: Delivery[] = whole.map((one, i) => ({ stream: 0, instance: i + 1, batch: one }));
    const merged: Delivery[] = [rest.shift() as Delivery];
    const last = rest.pop() as Delivery;
    const stream = thread + 1;
    for (let instance = 1; instance <= own;) {
      if (rest.length > 0 && prng.below(rest.length + own - instance + 1) < rest.length) {
        merged.push(rest.shift() as Delivery);
      } else merged.push({ stream, instance: instance++, batch: batch(stream) });
    }
    return [...merged, ...rest, last];
  });
}

function control(kind: BlockKind): Uint8Array {
  const writer = new ByteWriter();
  const at = beginBlock(writer, kind, 0, 1, 0, 0);
  for (let i = 0; i < 4; i++) writer.u32(i);
  endBlock(writer, at, 0);
  return writer.toBytes();
}

/** One thread: its model, what it has answered, and what it has cut. */
export class KvThread implements PsmrSink {
  readonly model: PsmrThread;
  readonly answers: [block: string, reply: string][] = [];
  readonly digests: [position: number, digest: string][] = [];
  readonly cuts: Cut[] = [];
  /** Called when this thread has arrived at a barrier or released one. */
  notify: (word: "arrival" | "release") => void = () => {};
  #pending: [number, string][] = [];
  readonly #writer = new ByteWriter(64, 1 << 26);

  constructor(parts: PsmrParts, thread: number, view: SharedService, options: Partial<PsmrOptions>) {
    this.model = createPsmrThread(parts, thread, view, kvMapping(parts.threads), options);
  }

  executed(stream: number, instance: number): void {
    for (const [block, reply] of this.#pending) this.answers.push([`${stream}/${instance}/${block}`, reply]);
    this.#pending = [];
  }
  replies(): ByteWriter {
    this.#writer.clear();
    return this.#writer;
  }
  replied(_session: number, position: number, at: number): void {
    const reply = Buffer.from(this.#writer.bytes.subarray(at, this.#writer.length)).toString("hex");
    this.#pending.push([position % BATCH_BLOCKS_MAX, reply]);
  }
  digestTaken(_high: number, _low: number, position: number, digest: Digest): void {
    this.digests.push([position, digest.join("-")]);
  }
  cutTaken(cut: Cut): void {
    this.cuts.push(cut);
  }
  arrived(): void {
    this.notify("arrival");
  }
  released(): void {
    this.notify("release");
  }
  wantWork(): void {}
  readDone(): void {}
  trace(): void {}
}

export const noPoint = (): BarrierPoint => ({ words: new Int32Array(0), index: 0, value: 0 });
