/**
 * Clients of all streams of one cluster in a small world of virtual time: each stream has its own links, leader and faults, and
 * the client of stream 0 opens the sessions of all. With `optimism` commands fail as with opt-PSMR.
 */
import assert from "node:assert/strict";
import { ByteWriter, type Prng } from "#src/base/index.js";
import { createSessionClient, type SessionClientConfig } from "#src/client/index.js";
import {
  BLOCK_HEADER_BYTES,
  BlockKind,
  checkReply,
  type ClientEvent,
  type ClientFailure,
  type ClientModel,
  type ClientSink,
  FrameKind,
  REPLY_HEADER_BYTES,
  replyCount,
  ReplyStatus,
  replyStatus,
  type ReplicaId,
  type Span,
} from "#src/model/index.js";
import { SimKernel } from "#src/platform/index.js";
import { type FakeCluster, type FakeOptimism, fakeStreams, type Frame } from "./fake-cluster.js";

export const replicas = [1, 2, 3] as const;
/** Commands whose ids leave the same rest conflict. */
export const KEYS = 4;
/** A command with this id is one that no stream but 0 takes. */
const MISFIT = 0x40000000;

function spanOf(bytes: Uint8Array): Span {
  const copy = bytes.slice();
  return { bytes: copy, view: new DataView(copy.buffer), start: 0, end: copy.length };
}

export interface Submitted {
  readonly stream: number;
  readonly ids: readonly number[];
  outcome: "open" | "resolved" | ClientFailure;
  /** Commands that were said to have failed their safety check. */
  pending: number;
}

/** How commands fail in a world, and a client of it that makes a mistake. */
export interface Optimism {
  readonly resubmit: "replicas" | "client";
  readonly strict: boolean;
  /** Probability that a command fails its safety check although nothing before it has. */
  failing: number;
  /** Changes what leaves for a stream other than 0. */
  onSend?(stream: number, kind: number, view: DataView): void;
  /** Changes a reply before the client of a stream sees it. */
  onReply?(stream: number, view: DataView): void;
}

/** One stream as the client sees it: its model, its links, its cluster. */
export interface Lane {
  readonly stream: number;
  readonly model: ClientModel;
  readonly cluster: FakeCluster;
  readonly up: Set<ReplicaId>;
  readonly executed: number[];
  readonly sink: ClientSink;
  wake: number;
}

export class World {
  readonly kernel: SimKernel;
  readonly prng: Prng;
  readonly lanes: readonly Lane[];
  readonly submitted: Submitted[] = [];
  readonly faults = { lose: 0, repeat: 0, delayMsMin: 1, delayMsMax: 1 };
  readonly lent: { readonly stream: number; readonly session: number }[] = [];
  #idNext = 1;

  readonly optimism: Optimism | null;
  /** Conservative blocks that clients handed to that of stream 0. */
  resubmitted = 0;

  constructor(seed: number, groups = 2, config: Partial<SessionClientConfig> = {}, optimism: Optimism | null = null) {
    this.optimism = optimism;
    this.kernel = new SimKernel(seed);
    this.prng = this.kernel.prng.fork("world");
    const executed = Array.from({ length: groups + 1 }, (): number[] => []);
    const clusters = fakeStreams(
      replicas,
      groups,
      (stream) => (command, _readOnly, replies) => {
        const id = new DataView(command.buffer, command.byteOffset).getUint32(4, true);
        executed[stream]!.push(id);
        replies.u32(8);
        replies.u32(id);
      },
      (_stream, block) => {
        const view = new DataView(block.buffer, block.byteOffset);
        return (view.getUint32(BLOCK_HEADER_BYTES + 4, true) & MISFIT) === 0;
      },
      optimism === null ? null : this.#optimismOf(optimism),
    );
    this.lanes = clusters.map((cluster, stream) => {
      const nonce = new Uint8Array(16).fill(7);
      const { resubmit, strict } = optimism ?? {};
      const init = { replicas, nonce, stream, resubmit, strict };
      const model = createSessionClient(init, { seed: seed + stream, ...config });
      const sink: ClientSink = {
        send: (to, kind, span) => this.#send(lane, to, kind, span.bytes.slice(span.start, span.end)),
        resolve: (token, replies) => this.#resolve(token, replies),
        fail: (token, failure) => this.#settle(token, failure),
        predict: () => assert.fail("this client does not predict"),
        rollback: () => assert.fail("this client does not predict"),
        borrow: () => {
          assert.notEqual(stream, 0, "stream 0 opens its own session");
          this.step(0, { kind: "borrow", now: this.kernel.now, stream });
        },
        lend: (to, session) => {
          assert.equal(stream, 0);
          this.lent.push({ stream: to, session });
          this.step(to, { kind: "lend", now: this.kernel.now, session });
        },
        pending: (token, commands, replies) => {
          const entry = this.submitted[token]!;
          assert.equal(entry.outcome, "open");
          assert.equal(entry.pending, 0, "commands are said to have failed once");
          assert.equal(replyStatus(replies.view, replies.start), ReplyStatus.failed);
          entry.pending = commands;
        },
        resubmit: (span, again) => {
          assert.equal(optimism?.resubmit, "client", "it is for the replicas to multicast again");
          assert.notEqual(stream, 0);
          this.resubmitted++;
          this.step(0, { kind: "resubmit", now: this.kernel.now, span, again });
        },
        wakeAt: (time) => this.#wakeAt(lane, time),
        opened: () => {},
      };
      const lane: Lane = { stream, model, cluster, up: new Set(), executed: executed[stream]!, sink, wake: Infinity };
      return lane;
    });
  }

  #optimismOf(optimism: Optimism): FakeOptimism {
    return {
      resubmit: optimism.resubmit,
      keyOf: (command) => (new DataView(command.buffer, command.byteOffset).getUint32(4, true) & ~MISFIT) % KEYS,
      fails: () => this.prng.chance(optimism.failing),
      again: (block) => {
        // Between the members of one replica little happens, but a replica that does not lead drops it.
        const all = this.lanes[0]!.cluster;
        this.#carry(() => {
          if (all.leader !== 0) all.executeConservative(block);
        });
      },
      reply: (stream, body) => {
        const lane = this.lanes[stream]!;
        // It leaves through the member that leads the stream's group, if there is one then.
        const from = lane.cluster.leader;
        if (from !== 0) this.deliver(lane, from, { kind: FrameKind.reply, body });
      },
    };
  }

  step(stream: number, event: ClientEvent): void {
    const lane = this.lanes[stream]!;
    lane.model.step(event, lane.sink);
  }

  start(links = true): this {
    for (const { stream } of this.lanes) this.step(stream, { kind: "start", now: this.kernel.now });
    if (links) for (const { stream } of this.lanes) for (const replica of replicas) this.link(stream, replica, true);
    return this;
  }

  link(stream: number, replica: ReplicaId, up: boolean): void {
    const { up: links } = this.lanes[stream]!;
    if (links.has(replica) === up) return;
    if (up) links.add(replica);
    else links.delete(replica);
    this.step(stream, { kind: "link", now: this.kernel.now, replica, up });
  }

  submit(stream: number, commands = 1, options: { misfit?: boolean; deadlineMs?: number } = {}): Submitted {
    const { misfit = false, deadlineMs = 5000 } = options;
    const ids = Array.from({ length: commands }, () => this.#idNext++ | (misfit ? MISFIT : 0));
    const writer = new ByteWriter(64);
    for (const id of ids) {
      writer.u32(8);
      writer.u32(id);
    }
    const entry: Submitted = { stream, ids, outcome: "open", pending: 0 };
    const token = this.submitted.push(entry) - 1;
    const { now } = this.kernel;
    const span = spanOf(writer.toBytes());
    this.step(stream, { kind: "submit", now, token, read: false, commands, span, deadline: now + deadlineMs });
    assert.equal(entry.outcome, "open", "a submit step told an outcome");
    return entry;
  }

  close(): void {
    for (const { stream } of this.lanes.toReversed()) this.step(stream, { kind: "close", now: this.kernel.now });
  }

  run(ms: number): this {
    const end = this.kernel.now + ms;
    this.kernel.at(end, () => {});
    this.kernel.run(end);
    return this;
  }

  settle(ms = 60_000): this {
    const done = (): boolean =>
      this.lanes.every(({ model }) => model.inspect().blocksOpen === 0) &&
      this.submitted.every((entry) => entry.outcome !== "open");
    if (!done()) this.kernel.run(this.kernel.now + ms, done);
    assert.ok(done(), `not settled: ${JSON.stringify(this.lanes.map(({ model }) => model.inspect()))}`);
    return this;
  }

  /** What holds after every history. */
  check(): void {
    const executed = new Set<number>();
    for (const lane of this.lanes) {
      assert.deepEqual(lane.cluster.altered, [], "a retransmission differed from what was sent first");
      assert.deepEqual([lane.cluster.malformed, lane.cluster.astray], [0, 0]);
      assert.equal(lane.cluster.acknowledgedPending, 0, "a command was acknowledged that waits to be executed");
      assert.equal(lane.cluster.forged, 0, "a conservative copy differs from its original");
      const keys = this.optimism?.strict === false ? KEYS : 1;
      const latest = Array.from({ length: keys }, () => 0);
      for (const id of lane.executed) {
        const number = id & ~MISFIT;
        assert.ok(
          number > latest[number % keys]!,
          `stream ${lane.stream} out of order or twice at ${number}: ${lane.executed.join(" ")}`,
        );
        latest[number % keys] = number;
        executed.add(id);
      }
    }
    for (const { ids, outcome } of this.submitted) {
      for (const id of ids) {
        if (outcome === "resolved") assert.ok(executed.has(id), `command ${id} was answered and not executed`);
        if (outcome === "try-again" || outcome === "session-expired" || outcome === "misrouted") {
          assert.ok(!executed.has(id), `command ${id} failed with ${outcome} and was executed`);
        }
      }
    }
    // A session is one stream's: no other ever names it.
    const users = new Map<number, number>();
    for (const { stream, cluster } of this.lanes) {
      for (const block of cluster.received) {
        if (block.kind !== BlockKind.commands) continue;
        assert.equal(users.get(block.session) ?? stream, stream, `session ${block.session} is used in two streams`);
        users.set(block.session, stream);
      }
    }
  }

  /** Sessions that the cluster has and that none of the clients will close. */
  leaked(): number {
    const used = new Set(this.lanes.map(({ model }) => model.inspect().session));
    return [...this.lanes[0]!.cluster.sessions.keys()].filter((session) => !used.has(session)).length;
  }

  deliver(lane: Lane, from: ReplicaId, frame: Frame): void {
    this.#carry(() => {
      if (!lane.up.has(from)) return;
      const { now } = this.kernel;
      const span = spanOf(frame.body);
      if (frame.kind === FrameKind.reply) this.optimism?.onReply?.(lane.stream, span.view);
      if (frame.kind === FrameKind.reply) this.step(lane.stream, { kind: "reply", now, from, span });
      else this.step(lane.stream, { kind: "redirect", now, from, leader: span.view.getUint32(0, true) });
    });
  }

  #send(lane: Lane, to: ReplicaId, kind: number, body: Uint8Array): void {
    if (!lane.up.has(to)) return;
    this.optimism?.onSend?.(lane.stream, kind, new DataView(body.buffer));
    this.#carry(() => {
      if (!lane.up.has(to)) return;
      for (const frame of lane.cluster.receive(to, kind, body)) this.deliver(lane, to, frame);
    });
  }

  #carry(arrive: () => void): void {
    if (this.prng.chance(this.faults.lose)) return;
    const { delayMsMin, delayMsMax } = this.faults;
    const copies = this.prng.chance(this.faults.repeat) ? 2 : 1;
    for (let i = 0; i < copies; i++) this.kernel.after(this.prng.between(delayMsMin, delayMsMax), arrive);
  }

  #wakeAt(lane: Lane, time: number): void {
    lane.wake = time;
    if (time === Infinity) return;
    this.kernel.at(time, () => {
      if (lane.wake !== time) return;
      lane.wake = Infinity;
      this.step(lane.stream, { kind: "tick", now: this.kernel.now });
    });
  }

  #resolve(token: number, { view, start, end }: Span): void {
    const entry = this.submitted[token]!;
    assert.equal(checkReply(view, start, end), end - start, "a block is resolved with a whole reply block");
    assert.equal(replyStatus(view, start), ReplyStatus.ok);
    const ids = Array.from({ length: replyCount(view, start) }, (_, i) => {
      assert.equal(view.getUint32(start + REPLY_HEADER_BYTES + 8 * i, true), 8, "every command has its whole reply");
      return view.getUint32(start + REPLY_HEADER_BYTES + 8 * i + 4, true);
    });
    assert.deepEqual(ids, entry.ids);
    this.#settle(token, "resolved");
  }

  #settle(token: number, outcome: Submitted["outcome"]): void {
    const entry = this.submitted[token]!;
    assert.equal(entry.outcome, "open", `block ${token} was told ${entry.outcome} and then ${outcome}`);
    entry.outcome = outcome;
  }
}
