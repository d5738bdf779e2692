/** Recorded streams of several groups, as a merge would deliver them to each thread, made from a seed. */

import { ByteWriter, Prng } from "#src/base/index.js";
import {
  type Batch,
  BatchArena,
  beginBlock,
  BlockKind,
  checkBatch,
  declaredMapping,
  emptyRun,
  endBlock,
  positionOf,
  type SharedService,
  streamFor,
} from "#src/model/index.js";
import { Btree, type BtreeOptions } from "#src/service/index.js";
import { type Command, writeCommand } from "../service/btree-command.js";

export interface Delivery {
  readonly stream: number;
  readonly instance: number;
  readonly batch: Batch;
}

export interface PlanOptions {
  readonly threads: number;
  readonly seed: number;
  /** Batches of g_all, and of each group. */
  readonly all: number;
  readonly own: number;
  /** Keys are below this number; range bounds cut it evenly, unless keys are hashed. */
  readonly keys: number;
  readonly hashed?: boolean;
  /** Inserts of random keys at the beginning, so that the tree has several leaves. */
  readonly preload?: number;
  /** By how much agreed time grows from batch to batch, in ms at most; 3 by default. */
  readonly stepMs?: number;
}

export interface Plan {
  readonly threads: number;
  readonly options: BtreeOptions;
  readonly keys: number;
  /** What each thread delivers, in order. */
  readonly merged: readonly (readonly Delivery[])[];
  readonly sessions: readonly number[];
}

const SESSIONS = 3;

/** Writes blocks of sessions; a client that also repeats and skips. */
class Client {
  readonly #prng: Prng;
  readonly #next = new Map<string, number>();
  readonly #sent = new Map<number, Uint8Array[]>();

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  /** A block of commands for a stream; now and then, unless `correct`, an old one, one too early, or one of no session. */
  block(stream: number, session: number, commands: readonly Command[], correct = false): Uint8Array {
    const sent = this.#sent.get(stream) ?? [];
    this.#sent.set(stream, sent);
    if (sent.length > 0 && !correct && this.#prng.chance(0.12)) return this.#prng.pick(sent);
    const name = `${stream} ${session}`;
    const first = this.#next.get(name) ?? 1;
    const early = !correct && this.#prng.chance(0.05);
    const sequence = early ? first + commands.length : first;
    const writer = new ByteWriter();
    const unknown = !correct && this.#prng.chance(0.03);
    const acknowledged = this.#prng.chance(0.5) ? 0 : this.#prng.below(sequence);
    const at = beginBlock(writer, BlockKind.commands, unknown ? 99_999 : session, sequence, acknowledged, stream);
    for (const command of commands) writeCommand(writer, command);
    endBlock(writer, at, commands.length);
    const bytes = writer.toBytes();
    if (!early && !unknown) {
      this.#next.set(name, first + commands.length);
      sent.push(bytes);
    }
    return bytes;
  }

  /** A block that no correct client sends through the stream of a group. Its numbers are used again by the next block. */
  misrouted(stream: number, session: number): Uint8Array {
    const writer = new ByteWriter();
    const first = this.#next.get(`${stream} ${session}`) ?? 1;
    const at = beginBlock(writer, BlockKind.commands, session, first, 0, stream);
    writeCommand(writer, { operation: "read", key: BigInt(this.#prng.below(100)) });
    writeCommand(writer, { operation: "insert", key: BigInt(this.#prng.below(100)), value: 1n });
    endBlock(writer, at, 2);
    return writer.toBytes();
  }

  control(kind: BlockKind, session: number, sequence: number): Uint8Array {
    const writer = new ByteWriter();
    const at = beginBlock(writer, kind, session, sequence, 0, 0);
    if (kind !== BlockKind.closeSession) {
      for (let i = 0; i < 4; i++) writer.u32(this.#prng.u32());
    }
    endBlock(writer, at, 0);
    return writer.toBytes();
  }

  mark(kind: BlockKind, value: number): Uint8Array {
    const writer = new ByteWriter();
    endBlock(writer, beginBlock(writer, kind, 0, value, 0), 0);
    return writer.toBytes();
  }
}

export function makeBatch(arena: BatchArena, blocks: readonly Uint8Array[], time: number): Batch {
  const writer = new ByteWriter();
  let commands = 0;
  for (const block of blocks) {
    commands += new DataView(block.buffer, block.byteOffset).getUint32(4, true);
    writer.copy(block, 0, block.length);
  }
  const batch = arena.build(writer.bytes, 0, writer.length, blocks.length, commands, time);
  if (checkBatch(batch.view, batch.start, batch.end) < 0) throw new Error("the plan made a malformed batch");
  return batch;
}

/** Where the key space is cut for so many groups. */
export function optionsFor(threads: number, keys: number, hashed: boolean): BtreeOptions {
  if (hashed) return { hashedGroups: threads };
  return {
    bounds: Array.from({ length: threads - 1 }, (_, i) => [Math.floor(((i + 1) * keys) / threads), 0] as const),
  };
}

function pickCommand(prng: Prng, keys: number): Command {
  const key = BigInt(prng.below(keys));
  const value = BigInt(prng.u32());
  const dice = prng.below(20);
  if (dice < 7) return { operation: "read", key };
  if (dice < 14) return { operation: "update", key, value };
  if (dice < 17) return { operation: "insert", key, value };
  if (dice < 19) return { operation: "delete", key };
  return { operation: "range", key, last: key + BigInt(prng.below(keys)), pairs: 1 + prng.below(50) };
}

/** The stream that a block of these commands belongs to. */
function streamOf(service: SharedService, threads: number, commands: readonly Command[], pick: number): number {
  const mapping = declaredMapping(service, threads);
  const writer = new ByteWriter();
  const run = emptyRun();
  run.offsets = new Uint32Array(commands.length);
  for (const [i, command] of commands.entries()) {
    run.offsets[i] = writer.length;
    writeCommand(writer, command);
  }
  run.bytes = writer.bytes;
  run.view = writer.view;
  run.count = commands.length;
  const masks = new Uint32Array(commands.length);
  mapping.masks(run, masks);
  return streamFor(masks, commands.length, threads, pick);
}

export function makePlan(plan: PlanOptions): Plan {
  const { threads, keys, hashed = false, preload = 150, stepMs = 3 } = plan;
  const prng = new Prng(plan.seed);
  const arena = new BatchArena();
  const client = new Client(prng);
  const options = optionsFor(threads, keys, hashed);
  const service = new Btree(options);
  const sessions = Array.from({ length: SESSIONS }, (_, i) => positionOf(1, i));
  let time = 1000;
  const tick = (): number => (time += prng.below(stepMs));

  const blocksFor = (stream: number, most: number): Uint8Array[] => {
    const blocks: Uint8Array[] = [];
    for (let i = prng.below(most + 1); i > 0; i--) {
      // A block for a group is tried until its commands map there; a few are sent there although they do not.
      for (let attempt = 0; ; attempt++) {
        const commands = Array.from({ length: 1 + prng.below(4) }, () => pickCommand(prng, keys));
        const fits = stream === 0 || streamOf(service, threads, commands, prng.below(threads)) === stream;
        if (!fits && attempt < 200) continue;
        if (fits) blocks.push(client.block(stream, prng.pick(sessions), commands));
        break;
      }
    }
    return blocks;
  };

  const all: Batch[] = [
    makeBatch(
      arena,
      sessions.map((_, i) => client.control(BlockKind.openSession, 0, i + 1)),
      tick(),
    ),
  ];
  const inserts = Array.from({ length: preload }, (): Command => {
    return { operation: "insert", key: BigInt(prng.below(keys)), value: BigInt(prng.u32()) };
  });
  all.push(makeBatch(arena, preload === 0 ? [] : [client.block(0, positionOf(1, 0), inserts, true)], tick()));
  for (let i = 0; i < plan.all; i++) {
    const blocks = prng.chance(0.1) ? [] : blocksFor(0, 3);
    if (prng.chance(0.1)) blocks.unshift(client.mark(BlockKind.skip, 3));
    if (prng.chance(0.1)) blocks.push(client.control(BlockKind.digest, 0, 1));
    if (prng.chance(0.05)) blocks.push(client.control(BlockKind.openSession, 0, 1));
    if (prng.chance(0.01)) blocks.push(client.control(BlockKind.closeSession, prng.pick(sessions), 1));
    all.push(makeBatch(arena, blocks, tick()));
  }
  all.push(makeBatch(arena, [client.control(BlockKind.digest, 0, 1)], tick()));

  const merged = Array.from({ length: threads }, (_, thread) => {
    const stream = thread + 1;
    const own: Delivery[] = Array.from({ length: plan.own }, (_, i) => {
      const blocks = blocksFor(stream, 3);
      if (prng.chance(0.05)) blocks.push(client.misrouted(stream, prng.pick(sessions)));
      if (prng.chance(0.02)) blocks.push(client.control(BlockKind.digest, 0, 1));
      return { stream, instance: i + 1, batch: makeBatch(arena, blocks, tick()) };
    });
    // The last of g_all comes last, everything else in between as chance has it, but in order.
    const queue = all.map((batch, i): Delivery => ({ stream: 0, instance: i + 1, batch }));
    const deliveries: Delivery[] = [];
    while (own.length + queue.length > 1) {
      const fromAll = own.length === 0 || (queue.length > 1 && prng.below(own.length + queue.length) < queue.length);
      deliveries.push((fromAll ? queue.shift() : own.shift()) as Delivery);
    }
    return [...deliveries, queue[0] as Delivery];
  });
  return { threads, options, keys, merged, sessions };
}

/** A plan of one block a batch, which every thread delivers in the order given, behind the opening of a session. */
export function writtenPlan(
  threads: number,
  keys: number,
  batches: readonly { readonly stream: number; readonly commands: readonly Command[] }[],
): Plan {
  const arena = new BatchArena();
  const opening = new Client(new Prng(0)).control(BlockKind.openSession, 0, 1);
  const session = positionOf(1, 0);
  const sequences = new Map<number, number>();
  const instances = new Map<number, number>([[0, 1]]);
  const deliveries: Delivery[] = [{ stream: 0, instance: 1, batch: makeBatch(arena, [opening], 1) }];
  for (const { stream, commands } of batches) {
    const sequence = sequences.get(stream) ?? 1;
    const instance = (instances.get(stream) ?? 0) + 1;
    sequences.set(stream, sequence + commands.length);
    instances.set(stream, instance);
    const writer = new ByteWriter();
    const at = beginBlock(writer, BlockKind.commands, session, sequence, 0, stream);
    for (const command of commands) writeCommand(writer, command);
    endBlock(writer, at, commands.length);
    deliveries.push({ stream, instance, batch: makeBatch(arena, [writer.toBytes()], instance) });
  }
  const merged = Array.from({ length: threads }, (_, thread) =>
    deliveries.filter(({ stream }) => stream === 0 || stream === thread + 1),
  );
  return { threads, options: optionsFor(threads, keys, false), keys, merged, sessions: [session] };
}
