import { assert, ByteWriter, type Prng } from "../../base/index.js";
import {
  type ClientFailure,
  REPLY_HEADER_BYTES,
  type ReplicaId,
  replySequence,
  replySession,
  type SessionId,
  type Span,
} from "../../model/index.js";
import type { FramePort, SimKernel, SimProcess } from "../../platform/index.js";
import type { BlockClient, BlockClientInit } from "../../runtime/index.js";
import type { Departure, HistoryRecorder, WitnessChecker } from "../check/index.js";
import type { Scenario } from "../scenario/index.js";
import type { CommandSource, SimCommand } from "./command.js";
import type { LoadClient } from "./load.js";

export interface SimClientInit {
  /** Also its host on the network. */
  readonly name: string;
  readonly kernel: SimKernel;
  readonly prng: Prng;
  readonly scenario: Scenario;
  readonly replicas: readonly ReplicaId[];
  readonly source: CommandSource;
  readonly history: HistoryRecorder;
  /** Nanoseconds that rise with every event, so that the history keeps their order within one instant. */
  readonly nowNs: () => number;
  /** Ordered commands of a session were answered: those with these sequence numbers. */
  readonly onAcknowledged: (session: SessionId, first: number, last: number) => void;
  readonly witness: WitnessChecker | null;
  /** Each life of the client has a process and a port of its own. */
  readonly open: (name: string) => { process: SimProcess; ports: readonly FramePort[] };
  readonly kill: (process: SimProcess) => void;
  /** `createBlockClient`, or what a planted bug makes of it; with several groups that of their streams, which have a port each. */
  readonly connect: (init: Omit<BlockClientInit, "port">, ports: readonly FramePort[]) => BlockClient;
}

/** One block of a lane that waits for its replies: one operation of the history a command. */
interface OpenBlock {
  readonly lane: number;
  readonly commands: readonly SimCommand[];
  /** The commands of unordered reads as they were sent, for the witness. */
  readonly read: Uint8Array | null;
  readonly departure: Departure | null;
}

/**
 * A client of the workload: a few lanes over one session, each with one block open at a time. It lives several lives when
 * it is killed: what was open then has an unknown outcome, and the next life opens a session of its own.
 */
export class SimClient implements LoadClient {
  readonly #init: SimClientInit;
  readonly #writer = new ByteWriter(256);
  readonly #open = new Map<number, OpenBlock>();
  #process: SimProcess;
  #client: BlockClient;
  #lives = 0;
  #tokens = 0;
  #afterEffects = 0;
  /** Commands that each lane has yet to complete before it rests; Infinity while the faults last. */
  readonly #left: number[];
  /** Lanes that found the client's window full. */
  readonly #blocked = new Set<number>();
  /** Commands answered so far. */
  completed = 0;

  constructor(init: SimClientInit) {
    this.#init = init;
    this.#left = Array.from({ length: init.scenario.workload.lanes }, () => Infinity);
    [this.#process, this.#client] = this.#connect();
    this.#left.forEach((_, lane) => this.#later(lane));
  }

  #connect(): [SimProcess, BlockClient] {
    const { name, prng, scenario, replicas } = this.#init;
    const { process, ports } = this.#init.open(`${name}/${++this.#lives}`);
    const nonce = new Uint8Array(16);
    for (let i = 0; i < 16; i++) nonce[i] = prng.below(256);
    const init: Omit<BlockClientInit, "port"> = {
      scheduler: process,
      replicas,
      nonce,
      deadlineMs: scenario.workload.deadlineMs,
      handlers: {
        resolve: (token, replies) => this.#onResolved(token, replies),
        fail: (token, failure) => this.#onFailed(token, failure),
        opened: () => this.#onOpened(),
      },
      events: { info: () => {}, warn: () => {}, error: () => {} },
      // A session is replaced well before the cluster would expire it.
      config: { sessionIdleMs: Math.max(1600, scenario.limits.sessionIdleMs * 0.4) },
    };
    return [process, this.#init.connect(init, ports)];
  }

  /** Dies with its commands under way; another life begins after a moment. */
  restart(): void {
    this.#init.kill(this.#process);
    for (const block of this.#open.values()) this.#end(block, "info", () => null);
    this.#open.clear();
    this.#blocked.clear();
    [this.#process, this.#client] = this.#connect();
    this.#left.forEach((_, lane) => this.#later(lane));
  }

  pause(): boolean {
    if (this.#process.paused) return false;
    this.#process.pause();
    return true;
  }

  resume(): void {
    if (this.#process.paused) this.#process.resume();
  }

  /** From now on each lane completes this many commands and then rests. */
  finish(commands: number): void {
    this.#left.fill(commands);
  }

  get idle(): boolean {
    return this.#open.size === 0 && this.#left.every((left) => left <= 0);
  }

  /** What it still waits for, for a report. */
  get waitsFor(): string {
    const open = [...this.#open.values()].map(({ commands }) => commands.map(({ op }) => op).join("+"));
    return `${this.#init.name} waits for ${open.join(", ") || "nothing"}, leader ${this.#client.leader}, session ${this.#client.session}`;
  }

  /** Sends these commands one after the other as lane 0, and calls back when all are answered. Only while idle. */
  ask(commands: readonly SimCommand[], done: () => void): void {
    const [first, ...rest] = commands;
    if (first === undefined) return done();
    assert(this.idle, "a client is asked while it is idle");
    this.#afterwards = () => {
      this.#afterwards = null;
      this.ask(rest, done);
    };
    this.#submit(0, [first], false);
  }
  #afterwards: (() => void) | null = null;

  #later(lane: number): void {
    const { prng, scenario } = this.#init;
    const { thinkMs } = scenario.workload;
    // Bursts without a pause are what fills windows and batches.
    const pause = prng.chance(0.2) ? 0 : thinkMs * 2 * prng.float();
    this.#process.after(pause, () => this.#next(lane));
  }

  #next(lane: number): void {
    if ((this.#left[lane] as number) <= 0) return;
    if (!this.#client.open) {
      this.#blocked.add(lane);
      return;
    }
    const { prng, scenario, source, name } = this.#init;
    const { blockCommandsMax, unordered } = scenario.workload;
    const commands = [source.next(prng, name)];
    const read = (commands[0] as SimCommand).read && prng.chance(unordered);
    for (let more = prng.below(blockCommandsMax); more > 0; more--) {
      const candidate = source.next(prng, name);
      if (!read || candidate.read) commands.push(candidate);
    }
    this.#submit(lane, commands, read);
  }

  #submit(lane: number, commands: readonly SimCommand[], read: boolean): void {
    const writer = this.#writer;
    writer.clear();
    for (const command of commands) command.encode(writer);
    const departure = this.#init.witness?.onSent() ?? null;
    const block = { lane, commands, read: read ? writer.toBytes() : null, departure };
    const token = ++this.#tokens;
    this.#open.set(token, block);
    commands.forEach(({ op, args }, index) => {
      if (op !== null) this.#init.history.invoke(this.#nameOf(lane, index), op, args, this.#init.nowNs());
      const { mayFollow } = commands[index] as SimCommand;
      if (mayFollow === undefined) return;
      // An operation without a known outcome: it takes effect at any time from now on, if ever.
      const process = `${this.#nameOf(lane, index)} afterwards ${++this.#afterEffects}`;
      this.#init.history.invoke(process, mayFollow.op, mayFollow.args, this.#init.nowNs());
      this.#init.history.complete(process, "info", null, this.#init.nowNs());
    });
    this.#client.submit(token, read, commands.length, writer.bytes, writer.view, 0, writer.length);
  }

  /** The commands of one block are open at once, so each is a process of its own in the history. */
  #nameOf(lane: number, index: number): string {
    return `${this.#init.name}.${lane + 1}.${index + 1}`;
  }

  #onResolved(token: number, reply: Span): void {
    const { bytes, view, start, end } = reply;
    const block = this.#open.get(token);
    assert(block !== undefined, "a block was answered that is not open");
    this.#open.delete(token);
    this.#witnessed(block, reply);
    if (block.read === null) {
      const first = replySequence(view, start);
      this.#init.onAcknowledged(replySession(view, start), first, first + block.commands.length - 1);
    }
    let at = start + REPLY_HEADER_BYTES;
    const results: unknown[] = [];
    this.#end(block, "ok", (index) => {
      const result = (block.commands[index] as SimCommand).decode(bytes, view, at);
      at += view.getUint32(at, true);
      results.push(result);
      return result;
    });
    assert(at === end, "a reply block has other replies than its block has commands");
    this.completed += block.commands.length;
    const { lane } = block;
    this.#left[lane] = (this.#left[lane] as number) - block.commands.length;
    const [first] = block.commands;
    if (this.#afterwards !== null) this.#process.after(0, this.#afterwards);
    else if (first?.followUp !== undefined) this.#follow(lane, first.followUp(results[0]));
    else this.#later(lane);
  }

  #witnessed({ lane, read, departure }: OpenBlock, reply: Span): void {
    if (departure === null) return;
    const connection = `${this.#init.name}.${lane + 1}`;
    const readCommands = read === null ? null : spanOf(read);
    this.#init.witness?.onAnswered({ connection, departure, reply, readCommands });
  }

  #follow(lane: number, command: SimCommand): void {
    this.#process.after(
      this.#init.prng.chance(0.5) ? 0 : this.#init.scenario.workload.thinkMs * this.#init.prng.float(),
      () => {
        // A lane that is to rest leaves it at that, and a full window ends what was begun.
        if ((this.#left[lane] as number) <= 0) return;
        if (this.#client.open) this.#submit(lane, [command], false);
        else this.#blocked.add(lane);
      },
    );
  }

  #onFailed(token: number, failure: ClientFailure): void {
    const block = this.#open.get(token);
    if (block === undefined) return;
    this.#open.delete(token);
    // These promise that nothing was applied: the checker holds the client to it.
    const outcome = failure === "indeterminate" || failure === "closed" ? "info" : "fail";
    this.#end(block, outcome, () => null);
    if (this.#afterwards !== null) {
      this.#process.after(0, () => this.#submit(block.lane, block.commands, false));
    } else this.#later(block.lane);
  }

  #end(block: OpenBlock, outcome: "ok" | "fail" | "info", result: (index: number) => unknown): void {
    const { history, nowNs } = this.#init;
    block.commands.forEach((command, index) => {
      if (outcome === "info") this.#init.source.onUnknown(command);
      const answer = result(index);
      if (command.op !== null) history.complete(this.#nameOf(block.lane, index), outcome, answer, nowNs());
    });
  }

  #onOpened(): void {
    for (const lane of this.#blocked) this.#later(lane);
    this.#blocked.clear();
  }
}

function spanOf(bytes: Uint8Array): Span {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { bytes, view, start: 0, end: bytes.length };
}
