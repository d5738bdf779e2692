/**
 * A gateway in a small deterministic world: clients on a `MemoryBytePort`, and behind it a cluster of one `kv` state that
 * executes blocks as a real one may: ordered blocks in order, reads whenever it likes, replies in any order. With groups the
 * blocks of a stream are executed in their order, and those of different streams in any.
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
  type GroupMapping,
  ReplyStatus,
  runIn,
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
import {
  beginCommand,
  commandOperation,
  endCommand,
  kv,
  KvOperation,
  kvMapping,
  replyOk,
  writeArgumentLatin1,
} from "#src/service/index.js";

/** A block the gateway submitted, until the cluster has answered it. */
export interface FakeBlock {
  /** What it was submitted through: 0 for g_all or the only stream, i for g_i. */
  readonly stream: number;
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

export class FakeCluster {
  readonly service = kv.create();
  /** How often more was asked for. */
  parts = 0;
  /** Everything submitted, in order. */
  readonly blocks: FakeBlock[] = [];
  /** By number; a single one without groups. */
  readonly streams: FakeStream[] = [];
  /** Sees each block when it is executed. */
  onExecute: (block: FakeBlock, offsets: Uint32Array, count: number) => void = () => undefined;
  readonly #run = emptyRun();
  /** Agreed time in ms. */
  readonly #time: () => number;

  constructor(time: () => number) {
    this.#time = time;
  }

  streamOf(block: FakeBlock): FakeStream {
    const stream = this.streams[block.stream];
    assert.ok(stream !== undefined);
    return stream;
  }

  set open(open: boolean) {
    for (const stream of this.streams) stream.open = open;
  }

  /** Takes blocks again. */
  reopen(): void {
    for (const stream of this.streams) stream.reopen();
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
    this.onExecute(block, run.offsets, run.count);
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
    this.streamOf(block).answer(block);
  }

  fail(block: FakeBlock, failure: ClientFailure): void {
    this.streamOf(block).fail(block, failure);
  }
}

/** How a stream of the cluster behaves. */
interface FakeStreamInit {
  readonly stream: number;
  readonly process: SimProcess;
  readonly prng: Prng;
  readonly mode: ClusterMode;
  readonly openMax: number;
  /** What its blocks may hold, if not everything. */
  readonly mapping: GroupMapping | null;
}

/** The cluster as seen through the session of one stream. */
class FakeStream implements BlockClient {
  open = true;
  readonly session = 1;
  readonly leader = 1;
  /** How many times slower it is than others, in mode `random`. */
  slowness = 1;
  /** Answers are made up before blocks are executed: a mistake. */
  answersEarly = false;
  /** The first value of each reply is from an earlier moment than the others, as if it had been read on its own: a mistake. */
  assembles = false;
  readonly #init: FakeStreamInit;
  readonly #cluster: FakeCluster;
  readonly #handlers: BlockClientHandlers;
  readonly #run = emptyRun();
  #openBlocks = 0;
  #orderedAt = 0;

  constructor(init: FakeStreamInit, cluster: FakeCluster, handlers: BlockClientHandlers) {
    this.#init = init;
    this.#cluster = cluster;
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
    const block: FakeBlock = {
      stream: this.#init.stream,
      token,
      read,
      commands,
      bytes: bytes.slice(start, end),
      deadline,
      replies: null,
      at: 0,
      left: commands,
    };
    this.#checkGroup(block);
    this.#cluster.blocks.push(block);
    this.#openBlocks++;
    if (this.#openBlocks >= this.#init.openMax) this.open = false;
    this.#schedule(block);
  }

  /** A replica would refuse a block of several groups, or of another one, in the stream of a group. */
  #checkGroup({ read, bytes, stream, commands }: FakeBlock): void {
    const { mapping } = this.#init;
    if (mapping === null) return;
    assert.ok(!read, "with groups there are no unordered reads");
    if (stream === 0) return;
    const run = this.#run;
    run.bytes = bytes;
    run.view = new DataView(bytes.buffer);
    run.count = 0;
    run.offsets = new Uint32Array(commands);
    for (let at = 0; at < bytes.length; at += run.view.getUint32(at, true)) run.offsets[run.count++] = at;
    const masks = new Uint32Array(run.count);
    mapping.masks(run, masks);
    assert.ok(runIn(stream - 1, masks, run.count), `a block of other groups in stream ${stream}: ${masks.join(" ")}`);
  }

  #schedule(block: FakeBlock): void {
    const { read } = block;
    const { mode, process, prng } = this.#init;
    if (mode === "manual") return;
    const now = process.clock.monotonicMs();
    const delay = (): number => (mode === "instant" ? 0 : (this.slowness * prng.below(8)) / 2);
    let at = now + delay();
    if (!read) {
      at = Math.max(at, this.#orderedAt);
      this.#orderedAt = at;
    }
    process.at(at, () => {
      if (this.answersEarly) return this.#answerEarly(block, delay());
      if (this.assembles && isRead(block)) return this.#assemble(block, delay());
      this.#cluster.execute(block);
      if (mode === "instant") this.answer(block);
      else process.after(delay(), () => this.answer(block));
    });
  }

  /** Each command is said to be done, and is executed later. */
  #answerEarly(block: FakeBlock, delayMs: number): void {
    this.#init.process.after(delayMs, () => this.#cluster.execute(block));
    const writer = new ByteWriter();
    const begun = beginReply(writer, 1, 1, ReplyStatus.ok, BlockKind.commands);
    for (let i = 0; i < block.commands; i++) replyOk(writer);
    endReply(writer, begun, block.commands);
    block.left = 0;
    block.replies = writer.toBytes();
    this.answer(block);
    block.left = block.commands;
  }

  #assemble(block: FakeBlock, delayMs: number): void {
    this.#cluster.execute(block);
    const before = textOf(block.replies!);
    block.left = block.commands;
    this.#init.process.after(delayMs, () => {
      this.#cluster.execute(block);
      const [first = ""] = /\d{6}/.exec(before) ?? [];
      // All values are of the same length, so that the lengths around them hold.
      block.replies = bytesOf(textOf(block.replies!).replace(/\d{6}/, first));
      this.answer(block);
    });
  }

  more(token: number, deadline?: number): void {
    const { stream, process } = this.#init;
    const block = this.#cluster.blocks.findLast((one) => one.token === token && one.stream === stream);
    assert.ok(block !== undefined && block.left > 0 && block.replies === null, "more is asked of what is left");
    if (deadline !== undefined && deadline <= process.clock.monotonicMs()) {
      process.after(0, () => this.fail(block, "try-again"));
      return;
    }
    this.#cluster.parts++;
    this.#schedule(block);
  }

  close(done: () => void): void {
    this.#init.process.after(0, done);
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
    if (!this.open && this.#init.mode !== "manual") this.reopen();
  }
}

function isRead({ bytes }: FakeBlock): boolean {
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += view.getUint32(at, true)) {
    if (commandOperation(view, at) !== KvOperation.getMany) return false;
  }
  return true;
}

export interface WorldOptions {
  readonly seed?: number;
  readonly mode?: ClusterMode;
  /** Blocks that the client leaves open at most. */
  readonly openMax?: number;
  /** The cluster has groups, to which commands belong by this; absent or null: it has one. */
  readonly mapping?: GroupMapping | null | undefined;
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
    const cluster = new FakeCluster(options.time ?? (() => this.kernel.now));
    this.cluster = cluster;
    const { mode = "instant", openMax = Infinity, mapping = null } = options;
    this.gateway = createRespGateway({
      port: this.port,
      mapping,
      client: (handlers, stream) => {
        const prng = new Prng(stream === 0 ? `cluster ${seed}` : `cluster ${seed}, stream ${stream}`);
        const client = new FakeStream(
          { stream, process: this.process, prng, mode, openMax, mapping },
          cluster,
          handlers,
        );
        cluster.streams.push(client);
        return client;
      },
      scheduler: this.process,
      info: () => options.info ?? {},
      events,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
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

/** Makes worlds whose cluster has so many groups. */
export function worldsOf(groups: number): (options?: WorldOptions) => RespWorld {
  const mapping = groups === 1 ? null : kvMapping(groups);
  return (options = {}) => new RespWorld({ mapping, ...options });
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
