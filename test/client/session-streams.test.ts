/**
 * Clients of several streams of one cluster: each has a session that the client of stream 0 opens and lends. Scenarios state
 * what one event does; the property lets openings, expiries, elections, links and losses of all streams meet at random.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, type Prng } from "#src/base/index.js";
import { createSessionClient, type SessionClientConfig } from "#src/client/index.js";
import {
  BLOCK_HEADER_BYTES,
  BlockKind,
  type ClientEvent,
  type ClientFailure,
  type ClientModel,
  type ClientSink,
  FrameKind,
  REPLY_HEADER_BYTES,
  replyCount,
  type ReplicaId,
  type Span,
} from "#src/model/index.js";
import { SimKernel } from "#src/platform/index.js";
import { type FakeCluster, fakeStreams, type Frame } from "./fake-cluster.js";

const replicas = [1, 2, 3] as const;
/** A command with this id is one that no stream but 0 takes. */
const MISFIT = 0x40000000;

function spanOf(bytes: Uint8Array): Span {
  const copy = bytes.slice();
  return { bytes: copy, view: new DataView(copy.buffer), start: 0, end: copy.length };
}

interface Submitted {
  readonly stream: number;
  readonly ids: readonly number[];
  outcome: "open" | "resolved" | ClientFailure;
}

/** One stream as the client sees it: its model, its links, its cluster. */
interface Lane {
  readonly stream: number;
  readonly model: ClientModel;
  readonly cluster: FakeCluster;
  readonly up: Set<ReplicaId>;
  readonly executed: number[];
  readonly sink: ClientSink;
  wake: number;
}

class World {
  readonly kernel: SimKernel;
  readonly prng: Prng;
  readonly lanes: readonly Lane[];
  readonly submitted: Submitted[] = [];
  readonly faults = { lose: 0, repeat: 0, delayMsMin: 1, delayMsMax: 1 };
  readonly lent: { readonly stream: number; readonly session: number }[] = [];
  #idNext = 1;

  constructor(seed: number, groups = 2, config: Partial<SessionClientConfig> = {}) {
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
    );
    this.lanes = clusters.map((cluster, stream) => {
      const nonce = new Uint8Array(16).fill(7);
      const model = createSessionClient({ replicas, nonce, stream }, { seed: seed + stream, ...config });
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
        pending: () => assert.fail("no command of this cluster fails"),
        resubmit: () => assert.fail("no command of this cluster fails"),
        wakeAt: (time) => this.#wakeAt(lane, time),
        opened: () => {},
      };
      const lane: Lane = { stream, model, cluster, up: new Set(), executed: executed[stream]!, sink, wake: Infinity };
      return lane;
    });
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
    const entry: Submitted = { stream, ids, outcome: "open" };
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
      let latest = 0;
      for (const id of lane.executed) {
        assert.ok((id & ~MISFIT) > latest, `stream ${lane.stream} out of order or twice: ${lane.executed.join(" ")}`);
        latest = id & ~MISFIT;
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
      if (frame.kind === FrameKind.reply) this.step(lane.stream, { kind: "reply", now, from, span });
      else this.step(lane.stream, { kind: "redirect", now, from, leader: span.view.getUint32(0, true) });
    });
  }

  #send(lane: Lane, to: ReplicaId, kind: number, body: Uint8Array): void {
    if (!lane.up.has(to)) return;
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

  #resolve(token: number, { view, start }: Span): void {
    const entry = this.submitted[token]!;
    const ids = Array.from({ length: replyCount(view, start) }, (_, i) => {
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

const outcomes = (blocks: readonly Submitted[]): string[] => blocks.map(({ outcome }) => outcome);

describe("clients of several streams", () => {
  test("have a session each, opened in stream 0 and used in their own", () => {
    const world = new World(1, 3).start();
    const blocks = [0, 1, 2, 3].flatMap((stream) => [world.submit(stream, 2), world.submit(stream)]);
    world.settle().check();
    assert.ok(blocks.every(({ outcome }) => outcome === "resolved"));
    assert.equal(world.lanes[0]!.cluster.opened, 4);
    assert.equal(new Set(world.lanes.map(({ model }) => model.inspect().session)).size, 4);
    for (const { stream, cluster } of world.lanes) {
      const others = cluster.received.filter(({ kind }) => kind !== BlockKind.commands);
      assert.ok(stream === 0 || others.length === 0, "only blocks of commands leave for other streams");
    }
  });

  test("know the leader of each stream by itself", () => {
    const world = new World(2, 2).start();
    for (const { stream } of world.lanes) world.submit(stream);
    world.settle();
    assert.deepEqual(
      world.lanes.map(({ model }) => model.inspect().leader),
      [1, 2, 3],
    );
  });

  test("wait for their session without sending, and go on while stream 0 has no leader", () => {
    const world = new World(3, 2);
    world.lanes[0]!.cluster.elect(0);
    world.start().run(500);
    const waiting = world.submit(1);
    world.run(500);
    assert.deepEqual(world.lanes[1]!.cluster.received, []);
    world.lanes[0]!.cluster.elect(2);
    world.settle();
    assert.equal(waiting.outcome, "resolved");
    // From here on it has a session, so that stream 0 is not needed.
    world.lanes[0]!.cluster.elect(0);
    const next = world.submit(1);
    world.run(10).check();
    assert.equal(next.outcome, "resolved");
  });

  test("a block that waits for a session longer than its deadline fails as certainly not applied", () => {
    const world = new World(4, 1);
    world.lanes[0]!.cluster.elect(0);
    world.start();
    const block = world.submit(1, 1, { deadlineMs: 100 });
    world.run(200).check();
    assert.equal(block.outcome, "try-again");
  });

  test("an opening whose reply is lost is sent again, and so is one that was redirected", () => {
    const world = new World(5, 2).start(false);
    world.faults.lose = 1;
    for (const { stream } of world.lanes) for (const replica of replicas) world.link(stream, replica, true);
    const blocks = [1, 2].map((stream) => world.submit(stream));
    world.run(100);
    assert.deepEqual(outcomes(blocks), ["open", "open"]);
    world.faults.lose = 0;
    world.lanes[0]!.cluster.elect(3);
    world.lanes[0]!.cluster.tell(1, 3);
    world.settle().check();
    assert.deepEqual(outcomes(blocks), ["resolved", "resolved"]);
  });

  test("an expiry in one stream opens another session for that stream and leaves the others", () => {
    const world = new World(6, 2).start();
    for (const { stream } of world.lanes) world.submit(stream);
    world.settle();
    const before = world.lanes.map(({ model }) => model.inspect().session);
    world.lanes[2]!.cluster.expireSessions();
    const sent = [0, 1, 2].map((stream) => world.submit(stream));
    world.settle().check();
    assert.deepEqual(outcomes(sent), ["resolved", "resolved", "indeterminate"]);
    const next = world.submit(2);
    world.settle().check();
    assert.equal(next.outcome, "resolved");
    const after = world.lanes.map(({ model }) => model.inspect().session);
    assert.deepEqual(after.slice(0, 2), before.slice(0, 2));
    assert.notEqual(after[2], before[2]);
    assert.equal(world.leaked(), 0, "the session that was replaced is closed");
  });

  test("a stream that idled borrows another session before it is used", () => {
    const world = new World(7, 1, { sessionIdleMs: 10_000 }).start();
    for (let i = 0; i < 5; i++) {
      world.submit(0);
      world.settle().run(3000);
    }
    world.lanes[1]!.cluster.expireSessions();
    const block = world.submit(1);
    world.settle().check();
    assert.equal(block.outcome, "resolved");
    assert.equal(world.lanes[0]!.cluster.opened, 3, "that of stream 0 was in use");
  });

  test("a misrouted block fails alone: what was sent behind it executes in another session, in order", () => {
    const world = new World(8, 1).start().run(20);
    const blocks = [
      world.submit(1),
      world.submit(1, 2, { misfit: true }),
      world.submit(1, 3),
      world.submit(1),
      world.submit(1, 1, { misfit: true }),
      world.submit(1),
    ];
    world.settle().check();
    assert.deepEqual(outcomes(blocks), ["resolved", "misrouted", "resolved", "resolved", "misrouted", "resolved"]);
    assert.deepEqual(world.lanes[1]!.executed, [1, 4, 5, 6, 7, 9]);
    assert.equal(world.lanes[0]!.cluster.opened, 4, "two sessions at first, one after each misrouted block");
    assert.equal(world.leaked(), 0);
  });

  test("a misrouted block whose answers are lost does not hang, and is never reported as possibly applied", () => {
    const world = new World(9, 1).start().run(20);
    world.faults.lose = 1;
    const blocks = [world.submit(1, 1, { misfit: true }), world.submit(1)];
    world.run(200);
    world.faults.lose = 0;
    world.settle().check();
    assert.deepEqual(outcomes(blocks), ["misrouted", "resolved"]);
  });

  test("closing ends the sessions of all streams", () => {
    const world = new World(10, 3).start();
    for (const { stream } of world.lanes) world.submit(stream);
    world.settle();
    const open = [0, 1, 2, 3].map((stream) => world.submit(stream));
    world.close();
    assert.ok(open.every(({ outcome }) => outcome === "closed"));
    world.run(10);
    assert.equal(world.lanes[0]!.cluster.closed, 4);
    assert.equal(world.lanes[0]!.cluster.sessions.size, 0);
  });
});

/** Random faults in all streams for some virtual seconds, then a healthy cluster. */
function history(seed: number): World {
  const groups = 1 + (seed % 3);
  const world = new World(seed, groups, { blocksMax: 32, seed, ...(seed % 5 === 0 ? { sessionIdleMs: 1600 } : {}) });
  const { prng, kernel } = world;
  const faultsEnd = 6000;
  Object.assign(world.faults, {
    lose: prng.float() * 0.3,
    repeat: prng.float() * 0.3,
    delayMsMin: 0,
    delayMsMax: prng.pick([2, 30, 200]),
  });
  world.start();
  const every = (ms: number, act: () => void): void => {
    kernel.after(prng.float() * 2 * ms, () => {
      if (kernel.now >= faultsEnd) return;
      act();
      every(ms, act);
    });
  };
  const misfits = prng.chance(0.4) ? 0.05 : 0;
  for (const { stream, cluster, model } of world.lanes) {
    every(prng.pick([15, 60, 900]), () => {
      if (!model.inspect().open) return;
      const misfit = stream > 0 && prng.chance(misfits);
      world.submit(stream, 1 + prng.below(3), { misfit, deadlineMs: prng.pick([50, 400, 5000]) });
    });
    every(900, () => {
      cluster.elect(prng.pick([0, 1, 2, 3]));
      for (const replica of replicas) {
        const told = (): void => cluster.tell(replica, prng.chance(0.8) ? cluster.leader : prng.below(4));
        kernel.after(prng.float() * 600, told);
      }
    });
    every(700, () => world.link(stream, prng.pick(replicas), prng.chance(0.6)));
    every(900, () => (prng.chance(0.4) ? cluster.silent.add(prng.pick(replicas)) : cluster.silent.clear()));
    every(1200, () => (cluster.refuseNext = prng.below(5)));
    if (prng.chance(0.5)) every(1500, () => cluster.expireSessions());
  }
  world.run(faultsEnd);
  Object.assign(world.faults, { lose: 0, repeat: 0, delayMsMax: 2 });
  for (const { stream, cluster } of world.lanes) {
    cluster.silent.clear();
    cluster.refuseNext = 0;
    cluster.elect(prng.pick(replicas));
    for (const replica of replicas) {
      cluster.tell(replica, cluster.leader);
      world.link(stream, replica, true);
    }
  }
  return world;
}

describe("over random faults of several streams", () => {
  test("every block has one outcome, each stream sees one dense sequence, and all recover", () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (seed) => {
        const world = history(seed);
        world.settle(20_000).check();
        for (const { stream } of world.lanes) {
          // A forgotten session is the one thing that a healthy cluster may still have in store.
          const probe = world.submit(stream);
          world.settle(20_000).check();
          if (probe.outcome === "resolved") continue;
          assert.equal(probe.outcome, "indeterminate");
          const second = world.submit(stream);
          world.settle(20_000).check();
          assert.equal(second.outcome, "resolved");
        }
        for (const { outcome } of world.submitted) seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      }),
      { numRuns: 60 },
    );
    for (const outcome of ["resolved", "try-again", "indeterminate", "session-expired", "misrouted"]) {
      assert.ok((seen.get(outcome) ?? 0) > 10, `too tame: ${JSON.stringify([...seen])}`);
    }
  });
});
