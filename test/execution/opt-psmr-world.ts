/**
 * Clients, streams and merges around the threads of one replica of opt-PSMR: which commands fail, and so which copies of them the
 * streams bring, follows from what the threads execute. What was delivered is recorded as a plan, for other replicas to follow.
 */

import { ByteWriter, Prng } from "#src/base/index.js";
import {
  BatchArena,
  beginBlock,
  BATCH_HEADER_BYTES,
  BlockKind,
  blockLength,
  blockStream,
  checkReply,
  endBlock,
  markStrict,
  positionOf,
  replyCount,
  replyKind,
  replySequence,
  replySession,
  ReplyStatus,
  replyStatus,
  FAILED_REPLY_BYTES,
  REPLY_HEADER_BYTES,
} from "#src/model/index.js";
import { type Command, writeCommand } from "../service/btree-command.js";
import { type Delivery, makeBatch, optionsFor, type Plan } from "./psmr-plan.js";
import { PsmrReplica, type ReplicaOptions } from "./psmr-replica.js";

const SESSIONS = 2;

export interface WorldOptions {
  readonly seed: number;
  readonly threads: number;
  readonly keys: number;
  /** Inserts of random keys at the beginning, so that the tree has several leaves. */
  readonly preload: number;
  /** Rounds in which clients send; then they only repeat what has not been answered. */
  readonly rounds: number;
  /** Share of blocks that keep the whole order of their session. */
  readonly strict: number;
  /** Every other command is about so many keys that all sessions of a stream share. */
  readonly hotKeys: number;
  readonly replica: ReplicaOptions & { readonly optimistic: "replicas" | "client" };
}

export function worldOptions(seed: number, options: Partial<WorldOptions> = {}): WorldOptions {
  const prng = new Prng(seed);
  return {
    seed,
    threads: 1 + prng.below(4),
    keys: 200 + prng.below(1500),
    preload: prng.chance(0.2) ? 0 : 300,
    rounds: 8 + prng.below(12),
    strict: prng.pick([0, 0.3, 1]),
    hotKeys: 1 + prng.below(6),
    ...options,
    replica: { optimistic: prng.chance(0.5) ? "replicas" : "client", barrier: "run", ...options.replica },
  };
}

interface SentBlock {
  readonly first: number;
  readonly bytes: Uint8Array;
  readonly commands: readonly Command[];
}

/** The client of one session in one stream: it acknowledges only what it has, and repeats what it has not. */
class StreamClient {
  readonly session: number;
  readonly stream: number;
  readonly #sent: SentBlock[] = [];
  /** Final replies by sequence number. */
  readonly #final = new Map<number, string>();
  #last = 0;
  #acknowledged = 0;

  constructor(session: number, stream: number) {
    this.session = session;
    this.stream = stream;
  }

  block(commands: readonly Command[], strict: boolean): Uint8Array {
    while (this.#final.has(this.#acknowledged + 1)) this.#acknowledged++;
    const writer = new ByteWriter();
    const first = this.#last + 1;
    const at = beginBlock(writer, BlockKind.commands, this.session, first, this.#acknowledged, this.stream);
    if (strict) markStrict(writer.view, at);
    for (const command of commands) writeCommand(writer, command);
    endBlock(writer, at, commands.length);
    const bytes = writer.toBytes();
    this.#last += commands.length;
    this.#sent.push({ first, bytes, commands });
    return bytes;
  }

  /** Blocks of which something has no final reply. */
  open(): SentBlock[] {
    return this.#sent.filter(({ first, commands }) => commands.some((_, i) => !this.#final.has(first + i)));
  }

  /** Conservative blocks for what has no final reply, cut at random. */
  copies(prng: Prng): Uint8Array[] {
    return this.open().flatMap(({ first, commands }) => {
      const copies: Uint8Array[] = [];
      for (let i = 0; i < commands.length;) {
        const count = 1 + prng.below(commands.length - i);
        const writer = new ByteWriter();
        const at = beginBlock(writer, BlockKind.conservative, this.session, first + i, 0, this.stream);
        for (const command of commands.slice(i, i + count)) writeCommand(writer, command);
        endBlock(writer, at, count);
        copies.push(writer.toBytes());
        i += count;
      }
      return copies;
    });
  }

  /** A command has one reply, however often it is answered (exactly once). */
  onReply(view: DataView, bytes: Uint8Array): void {
    const status = replyStatus(view, 0);
    if (status !== ReplyStatus.ok && status !== ReplyStatus.failed) return;
    let at = REPLY_HEADER_BYTES;
    for (let i = 0; i < replyCount(view, 0); i++) {
      const length = view.getUint32(at, true);
      const sequence = replySequence(view, 0) + i;
      const found = Buffer.from(bytes.subarray(at, at + length)).toString("hex");
      at += length;
      if (length === FAILED_REPLY_BYTES) continue;
      const known = this.#final.get(sequence);
      if (known !== undefined && known !== found) {
        throw new Error(`command ${sequence} of session ${this.session} in ${this.stream} has two replies`);
      }
      this.#final.set(sequence, found);
    }
  }
}

export class OptWorld {
  readonly plan: Plan;
  readonly replica: PsmrReplica;
  readonly #options: WorldOptions;
  readonly #prng: Prng;
  readonly #arena = new BatchArena();
  readonly #merged: Delivery[][];
  /** What was ordered in g_all and each thread's merge has not delivered; and the batches of each stream so far. */
  readonly #undelivered: Delivery[][];
  readonly #instances: number[];
  readonly #clients: StreamClient[] = [];
  /** Copies on their way to g_all. */
  #copies: Uint8Array[] = [];
  readonly #seen = new Map<string, number>();
  #time = 1000;

  constructor(options: WorldOptions) {
    const { threads, keys } = options;
    this.#options = options;
    this.#prng = new Prng(options.seed + 77);
    this.#merged = Array.from({ length: threads }, () => []);
    this.#undelivered = Array.from({ length: threads }, () => []);
    this.#instances = Array.from({ length: threads + 1 }, () => 0);
    const sessions = Array.from({ length: SESSIONS }, (_, i) => positionOf(1, i));
    for (const session of sessions) {
      for (let stream = 0; stream <= threads; stream++) this.#clients.push(new StreamClient(session, stream));
    }
    this.plan = { threads, options: optionsFor(threads, keys, false), keys, merged: this.#merged, sessions };
    this.replica = new PsmrReplica(this.plan, options.replica);
  }

  /** Runs all rounds, and then until each command has its final reply; throws if that does not come about. */
  run(): void {
    const prng = this.#prng;
    const { rounds, threads, preload, keys } = this.#options;
    this.#order(
      0,
      this.plan.sessions.map(() => this.#control(BlockKind.openSession)),
    );
    const inserts = Array.from({ length: preload }, (): Command => {
      return { operation: "insert", key: BigInt(prng.below(keys)), value: BigInt(prng.u32()) };
    });
    if (preload > 0) this.#order(0, [(this.#clients[0] as StreamClient).block(inserts, false)]);
    for (let round = 0; round < rounds; round++) {
      for (let left = 1 + prng.below(4); left > 0; left--) {
        this.#orderOwn(1 + prng.below(threads));
        if (prng.chance(0.4)) this.#orderAll(0.6);
        if (prng.chance(0.5)) this.#merge(0.6);
      }
      this.#settle(prng.chance(0.3) ? [prng.below(threads)] : []);
    }
    for (let round = 0; this.#clients.some((client) => client.open().length > 0); round++) {
      if (round === 60) throw new Error("some commands are never answered");
      for (const { stream, open } of this.#clients.map((client) => ({ stream: client.stream, open: client.open() }))) {
        if (open.length > 0)
          this.#order(
            stream,
            open.map(({ bytes }) => bytes),
          );
      }
      this.#merge(1);
      this.#settle([]);
      this.#orderAll(1);
      this.#merge(1);
      this.#settle([]);
    }
    this.#order(0, [this.#control(BlockKind.digest)]);
    this.#merge(1);
    this.#settle([]);
  }

  /** A batch of one group: new blocks, and copies of old ones. */
  #orderOwn(stream: number): void {
    const prng = this.#prng;
    const { strict } = this.#options;
    const blocks: Uint8Array[] = [];
    for (let left = prng.below(4); left > 0; left--) {
      const client = prng.pick(this.#clients.filter((each) => each.stream === stream));
      const open = client.open();
      if (open.length > 0 && prng.chance(0.3)) blocks.push(prng.pick(open).bytes);
      else {
        const commands = Array.from({ length: 1 + prng.below(5) }, () => this.#command(stream - 1));
        blocks.push(client.block(commands, prng.chance(strict)));
      }
    }
    this.#order(stream, blocks);
  }

  /** A batch of g_all: commands of several groups, copies of what failed, and now and then a digest. */
  #orderAll(share: number): void {
    const prng = this.#prng;
    const { keys } = this.#options;
    const blocks: Uint8Array[] = [];
    const kept: Uint8Array[] = [];
    for (const copy of this.#copies) {
      if (!prng.chance(share)) kept.push(copy);
      else if (share === 1 || !prng.chance(0.1)) blocks.push(copy);
      if (share < 1 && prng.chance(0.1)) kept.push(copy);
    }
    // Coordinators change, and copies with them.
    if (share < 1 && prng.chance(0.3)) kept.sort((a, b) => (a[a.length - 1] as number) - (b[b.length - 1] as number));
    this.#copies = kept;
    const ordinary = this.#clients.filter((each) => each.stream === 0);
    for (let left = share < 1 ? prng.below(2) : 0; left > 0; left--) {
      const key = BigInt(prng.below(keys));
      const commands: Command[] = [
        { operation: "range", key, last: key + BigInt(prng.below(keys)), pairs: 20 },
        { operation: prng.chance(0.5) ? "insert" : "update", key, value: BigInt(prng.u32()) },
      ];
      blocks.splice(prng.below(blocks.length + 1), 0, prng.pick(ordinary).block(commands, false));
    }
    if (prng.chance(0.2)) blocks.splice(prng.below(blocks.length + 1), 0, this.#control(BlockKind.digest));
    this.#order(0, blocks);
  }

  #command(thread: number): Command {
    const prng = this.#prng;
    const { threads, keys, hotKeys } = this.#options;
    const from = Math.floor((thread * keys) / threads);
    const below = Math.floor(((thread + 1) * keys) / threads);
    const key = BigInt(from + prng.below(prng.chance(0.5) ? Math.min(hotKeys, below - from) : below - from));
    const value = BigInt(prng.u32());
    const dice = prng.below(20);
    if (dice < 4) return { operation: "read", key };
    if (dice < 6) return { operation: "update", key, value };
    if (dice < 12) return { operation: "insert", key, value };
    if (dice < 19) return { operation: "delete", key };
    return { operation: "range", key, last: key + BigInt(prng.below(below - Number(key))), pairs: 20 };
  }

  #order(stream: number, blocks: readonly Uint8Array[]): void {
    const instance = (this.#instances[stream] as number) + 1;
    this.#instances[stream] = instance;
    const batch = makeBatch(this.#arena, blocks, (this.#time += this.#prng.below(3)));
    const delivery: Delivery = { stream, instance, batch };
    if (stream === 0) for (const queue of this.#undelivered) queue.push(delivery);
    else (this.#merged[stream - 1] as Delivery[]).push(delivery);
  }

  /** Each thread delivers some, or all, of what was ordered in g_all. */
  #merge(share: number): void {
    for (const [thread, queue] of this.#undelivered.entries()) {
      while (queue.length > 0 && this.#prng.chance(share)) {
        (this.#merged[thread] as Delivery[]).push(queue.shift() as Delivery);
      }
    }
  }

  #settle(lag: readonly number[]): void {
    const { replica } = this;
    replica.run(this.#prng, lag);
    for (const [block, answers] of replica.answers) {
      const list = answers.split(" ");
      for (const answer of list.slice(this.#seen.get(block) ?? 0)) this.#onAnswer(block, answer);
      this.#seen.set(block, list.length);
    }
    this.#copies.push(...replica.copies.splice(0));
    if (this.#options.replica.optimistic === "replicas") return;
    for (const client of this.#clients.filter(({ stream }) => stream > 0)) {
      if (this.#prng.chance(0.5)) this.#copies.push(...client.copies(this.#prng));
    }
  }

  /** Tells the client whose block was answered; `block` is `stream/instance/number`. */
  #onAnswer(block: string, answer: string): void {
    const bytes = new Uint8Array(Buffer.from(answer, "hex"));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (checkReply(view, 0, bytes.length) !== bytes.length) throw new Error(`block ${block} has a malformed answer`);
    const kind = replyKind(view, 0);
    if (kind !== BlockKind.commands && kind !== BlockKind.conservative) return;
    const [stream = 0, instance = 0, number = 0] = block.split("/").map(Number);
    const batch = this.replica.batch(stream, instance);
    let at = batch.start + BATCH_HEADER_BYTES;
    for (let i = 0; i < number; i++) at += blockLength(batch.view, at);
    const of = blockStream(batch.view, at);
    this.#clients
      .find((client) => client.session === replySession(view, 0) && client.stream === of)
      ?.onReply(view, bytes);
  }

  #control(kind: BlockKind): Uint8Array {
    const writer = new ByteWriter();
    const at = beginBlock(writer, kind, 0, 1, 0);
    for (let i = 0; i < 4; i++) writer.u32(this.#prng.u32());
    endBlock(writer, at, 0);
    return writer.toBytes();
  }
}
