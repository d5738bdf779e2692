/**
 * A gateway in a small deterministic world: clients on a `MemoryBytePort`, and behind it a cluster of one `kv` state that
 * executes blocks as a real one may: ordered blocks in order, reads whenever it likes, replies in any order.
 */
import assert from "node:assert/strict";
import { ByteWriter, Prng } from "#src/base/index.js";
import { createRespGateway, type InfoFields, type RespGateway, type RespLimits } from "#src/gateway/index.js";
import {
  beginReply,
  BlockKind,
  type ClientFailure,
  emptyRun,
  endReply,
  ReplyStatus,
  stampReplyStatus,
  type Span,
} from "#src/model/index.js";
import {
  type EventLog,
  MemoryBytePort,
  type MemoryByteClient,
  SimKernel,
  type SimProcess,
} from "#src/platform/index.js";
import type { BlockClient, BlockClientHandlers } from "#src/runtime/index.js";
import { beginCommand, endCommand, kv, KvOperation, writeArgumentLatin1 } from "#src/service/index.js";

/** A block the gateway submitted, until the cluster has answered it. */
export interface FakeBlock {
  readonly token: number;
  readonly read: boolean;
  readonly commands: number;
  readonly bytes: Uint8Array;
  readonly deadline: number | undefined;
  replies: Uint8Array | null;
  /** Where the commands begin that no part of the replies has answered yet, and how many there are. */
  at: number;
  left: number;
}

/** How the cluster treats the blocks it gets. */
export type ClusterMode =
  /** Executes and answers each at the end of the turn. */
  | "instant"
  /** Executes and answers after random delays, within the rules. */
  | "random"
  /** Only when told to by `execute` and `answer`. */
  | "manual";

export class FakeCluster implements BlockClient {
  open = true;
  readonly session = 1;
  readonly leader = 1;
  readonly service = kv.create();
  /** How often more was asked for. */
  parts = 0;
  /** Everything submitted, in order. */
  readonly blocks: FakeBlock[] = [];
  readonly #process: SimProcess;
  readonly #prng: Prng;
  readonly #mode: ClusterMode;
  readonly #handlers: BlockClientHandlers;
  readonly #run = emptyRun();
  readonly #openMax: number;
  /** Agreed time in ms. */
  readonly #time: () => number;
  #openBlocks = 0;
  #orderedAt = 0;
  #inCall = false;

  constructor(
    process: SimProcess,
    prng: Prng,
    mode: ClusterMode,
    openMax: number,
    time: () => number,
    handlers: BlockClientHandlers,
  ) {
    this.#time = time;
    this.#process = process;
    this.#prng = prng;
    this.#mode = mode;
    this.#openMax = openMax;
    this.#handlers = handlers;
  }

  submit(
    token: number,
    read: boolean,
    commands: number,
    bytes: Uint8Array,
    _view: DataView,
    start: number,
    end: number,
    deadline?: number,
  ): void {
    assert.ok(this.open, "a block was submitted to a client that is not open");
    assert.ok(!this.#inCall, "submit must not be called from within a callback of the cluster's own making");
    const block: FakeBlock = {
      token,
      read,
      commands,
      bytes: bytes.slice(start, end),
      deadline,
      replies: null,
      at: 0,
      left: commands,
    };
    this.blocks.push(block);
    this.#openBlocks++;
    if (this.#openBlocks >= this.#openMax) this.open = false;
    this.#schedule(block);
  }

  #schedule(block: FakeBlock): void {
    const { read } = block;
    if (this.#mode === "manual") return;
    const now = this.#process.clock.monotonicMs();
    const delay = (): number => (this.#mode === "instant" ? 0 : this.#prng.below(8) / 2);
    let at = now + delay();
    if (!read) {
      at = Math.max(at, this.#orderedAt);
      this.#orderedAt = at;
    }
    this.#process.at(at, () => {
      this.execute(block);
      if (this.#mode === "instant") this.answer(block);
      else this.#process.after(delay(), () => this.answer(block));
    });
  }

  more(token: number, deadline?: number): void {
    const block = this.blocks.findLast((one) => one.token === token);
    assert.ok(block !== undefined && block.left > 0 && block.replies === null, "more is asked of what is left");
    if (deadline !== undefined && deadline <= this.#process.clock.monotonicMs()) {
      this.#process.after(0, () => this.fail(block, "try-again"));
      return;
    }
    this.parts++;
    this.#schedule(block);
  }

  /** Sets a key behind the gateway's back, as another gateway's client would. */
  put(key: string, value: string): void {
    const writer = new ByteWriter();
    const at = beginCommand(writer, KvOperation.set, 0, 2);
    writeArgumentLatin1(writer, key);
    writeArgumentLatin1(writer, value);
    endCommand(writer, at);
    const run = { ...emptyRun(), bytes: writer.bytes, view: writer.view, count: 1, answered: 1 };
    this.service.execute(run, new ByteWriter(), null);
  }

  close(done: () => void): void {
    this.#process.after(0, done);
  }

  /** Executes a block against the state as it is now. */
  execute(block: FakeBlock): void {
    const run = this.#run;
    run.bytes = block.bytes;
    run.view = new DataView(block.bytes.buffer);
    run.readOnly = block.read;
    run.time = this.#time();
    run.seed = this.blocks.length;
    if (!block.read) this.service.advance(run.time, null);
    run.count = 0;
    if (run.offsets.length < block.commands) run.offsets = new Uint32Array(block.commands);
    for (let at = block.at; at < block.bytes.length; at += run.view.getUint32(at, true)) run.offsets[run.count++] = at;
    assert.equal(run.count, block.left);
    run.answered = run.count;
    const writer = new ByteWriter();
    const begun = beginReply(writer, 1, 1, ReplyStatus.ok, block.read ? BlockKind.read : BlockKind.commands);
    this.service.execute(run, writer, null);
    if (run.answered < run.count) stampReplyStatus(writer.view, begun, ReplyStatus.split);
    endReply(writer, begun, run.answered);
    block.left -= run.answered;
    if (block.left > 0) block.at = run.offsets[run.answered] as number;
    block.replies = writer.toBytes();
  }

  answer(block: FakeBlock): void {
    const bytes = block.replies;
    assert.ok(bytes !== null, "a block is executed before it is answered");
    const span: Span = { bytes, view: new DataView(bytes.buffer), start: 0, end: bytes.length };
    block.replies = null;
    const last = block.left === 0;
    this.#handlers.resolve(block.token, span);
    if (last) this.#closed();
  }

  fail(block: FakeBlock, failure: ClientFailure): void {
    this.#handlers.fail(block.token, failure);
    this.#closed();
  }

  /** Takes blocks again. */
  reopen(): void {
    this.open = true;
    this.#handlers.opened();
  }

  #closed(): void {
    this.#openBlocks--;
    if (!this.open && this.#mode !== "manual") this.reopen();
  }
}

export interface WorldOptions {
  readonly seed?: number;
  readonly mode?: ClusterMode;
  /** Blocks that the client leaves open at most. */
  readonly openMax?: number;
  /** Agreed time in ms; by default that of the world, which begins with 0. */
  readonly time?: () => number;
  readonly limits?: Partial<RespLimits>;
  readonly info?: InfoFields;
}

export class RespWorld {
  readonly kernel: SimKernel;
  readonly process: SimProcess;
  readonly port: MemoryBytePort;
  readonly gateway: RespGateway;
  readonly cluster: FakeCluster;
  readonly log: { event: string; fields: Readonly<Record<string, unknown>> }[] = [];

  constructor(options: WorldOptions = {}) {
    const seed = options.seed ?? 1;
    this.kernel = new SimKernel(seed);
    this.process = this.kernel.spawn("gateway");
    const note = (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      this.log.push({ event, fields });
    };
    const events: EventLog = { info: note, warn: note, error: note };
    this.port = new MemoryBytePort(this.process, { events });
    let cluster: FakeCluster | null = null;
    this.gateway = createRespGateway({
      port: this.port,
      client: (handlers) => {
        cluster = new FakeCluster(
          this.process,
          new Prng(`cluster ${seed}`),
          options.mode ?? "instant",
          options.openMax ?? Infinity,
          options.time ?? (() => this.kernel.now),
          handlers,
        );
        return cluster;
      },
      scheduler: this.process,
      info: () => options.info ?? {},
      events,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
    assert.ok(cluster !== null);
    this.cluster = cluster;
    this.gateway.start();
  }

  connect(): MemoryByteClient {
    const client = this.port.connect();
    this.settle();
    return client;
  }

  /** Runs until nothing is left to do at the present time. */
  settle(): void {
    this.kernel.run(this.kernel.now);
  }

  /** Runs for so much virtual time. */
  pass(ms: number): void {
    const until = this.kernel.now + ms;
    this.kernel.at(until, () => {});
    this.kernel.run(until);
  }

  /** Sends in one chunk and returns what has come back once everything is quiet. */
  ask(client: MemoryByteClient, input: string): string {
    client.write(bytesOf(input));
    this.settle();
    return replies(client);
  }
}

/** One byte a character. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

/** What has come back, one byte a character. */
export function replies(client: MemoryByteClient): string {
  return textOf(client.take());
}

/** A request as an array of bulk strings. */
export function request(...args: string[]): string {
  return `*${args.length}\r\n${args.map((arg) => `$${arg.length}\r\n${arg}\r\n`).join("")}`;
}
