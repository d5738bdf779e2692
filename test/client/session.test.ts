/**
 * The session client against a scripted cluster in virtual time. Scenarios state what one event does; the property runs
 * random faults and then demands order, exactly once, one outcome per block and that the client recovers.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, type Prng } from "#src/base/index.js";
import { createSessionClient, sessionClientConfig, type SessionClientConfig } from "#src/client/index.js";
import {
  BlockKind,
  checkReply,
  type ClientFailure,
  type ClientModel,
  type ClientSink,
  ConfigError,
  FrameKind,
  replyCount,
  type ReplicaId,
  ReplyStatus,
  replyStatus,
  type Span,
} from "#src/model/index.js";
import { SimKernel } from "#src/platform/index.js";
import { FakeCluster, type Frame } from "./fake-cluster.js";
import { recurring } from "./recurring.js";

const replicas = [1, 2, 3] as const;

function spanOf(bytes: Uint8Array): Span {
  const copy = bytes.slice();
  return { bytes: copy, view: new DataView(copy.buffer), start: 0, end: copy.length };
}

/** Commands of the test's service: `u32 length = 8, u32 id`; the reply repeats the id and tells the execution's place. */
function commandsOf(firstId: number, count: number): Span {
  const writer = new ByteWriter(64);
  for (let i = 0; i < count; i++) {
    writer.u32(8);
    writer.u32(firstId + i);
  }
  return spanOf(writer.toBytes());
}

interface Faults {
  /** Probability that a frame is lost, or arrives twice. */
  lose: number;
  repeat: number;
  /** A frame takes this long at least and at most; unless the two are equal, frames overtake each other. */
  delayMsMin: number;
  delayMsMax: number;
}

interface Submitted {
  readonly firstId: number;
  readonly commands: number;
  readonly read: boolean;
  /** Commands whose replies have come, in parts if they are long. */
  answered: number;
  outcome: "open" | "resolved" | ClientFailure;
}

class World {
  readonly kernel: SimKernel;
  readonly prng: Prng;
  readonly cluster: FakeCluster;
  readonly model: ClientModel;
  readonly executed: number[] = [];
  readonly submitted: Submitted[] = [];
  readonly faults: Faults = { lose: 0, repeat: 0, delayMsMin: 1, delayMsMax: 1 };
  readonly up = new Set<ReplicaId>();
  readonly sent: { at: number; to: ReplicaId; kind: number }[] = [];
  opened = 0;
  parts = 0;
  #idNext = 1;
  #wake = Infinity;
  readonly sink: ClientSink;

  constructor(seed: number, config: Partial<SessionClientConfig> = {}, leader: ReplicaId = 1) {
    this.kernel = new SimKernel(seed);
    this.prng = this.kernel.prng.fork("world");
    this.cluster = new FakeCluster(replicas, leader, (command, _readOnly, replies) => {
      const id = command[4]! | (command[5]! << 8) | (command[6]! << 16);
      if (!_readOnly) this.executed.push(id);
      replies.u32(8);
      replies.u32(id);
    });
    this.model = createSessionClient({ replicas, nonce: new Uint8Array(16).fill(7) }, { seed, ...config });
    this.sink = {
      send: (to, kind, span) => this.#send(to, kind, span.bytes.slice(span.start, span.end)),
      resolve: (token, replies) => this.#resolve(token, replies),
      fail: (token, failure) => this.#settle(token, failure),
      predict: () => assert.fail("this client does not predict"),
      rollback: () => assert.fail("this client does not predict"),
      borrow: () => assert.fail("this client opens its own session"),
      lend: () => assert.fail("nobody has asked this client for a session"),
      pending: () => assert.fail("no command of this cluster fails"),
      resubmit: () => assert.fail("no command of this cluster fails"),
      wakeAt: (time) => this.#wakeAt(time),
      opened: () => {
        assert.ok(this.model.inspect().open, "opened was told while the window is full");
        this.opened++;
      },
    };
  }

  start(links: readonly ReplicaId[] = replicas): this {
    this.model.step({ kind: "start", now: this.kernel.now }, this.sink);
    for (const replica of links) this.link(replica, true);
    return this;
  }

  link(replica: ReplicaId, up: boolean): void {
    if (this.up.has(replica) === up) return;
    if (up) this.up.add(replica);
    else this.up.delete(replica);
    this.model.step({ kind: "link", now: this.kernel.now, replica, up }, this.sink);
  }

  submit(commands = 1, options: { read?: boolean; deadlineMs?: number } = {}): Submitted {
    const entry: Submitted = {
      firstId: this.#idNext,
      commands,
      read: options.read ?? false,
      answered: 0,
      outcome: "open",
    };
    this.#idNext += commands;
    this.submitted.push(entry);
    const { now } = this.kernel;
    const settled = this.submitted.filter((other) => other.outcome !== "open").length;
    this.model.step(
      {
        kind: "submit",
        now,
        token: this.submitted.length - 1,
        read: entry.read,
        commands,
        span: commandsOf(entry.firstId, commands),
        deadline: now + (options.deadlineMs ?? 5000),
      },
      this.sink,
    );
    const settledAfter = this.submitted.filter((other) => other.outcome !== "open").length;
    assert.equal(settledAfter, settled, "a submit step told an outcome");
    return entry;
  }

  close(): void {
    this.model.step({ kind: "close", now: this.kernel.now }, this.sink);
  }

  run(ms: number): this {
    // The kernel stops where its events end, so there is one at the end of the time asked for.
    const end = this.kernel.now + ms;
    this.kernel.at(end, () => {});
    this.kernel.run(end);
    return this;
  }

  /** Runs until everything submitted has an outcome and nothing is open, for at most `ms`. */
  settle(ms = 60_000): this {
    const done = (): boolean =>
      this.model.inspect().blocksOpen === 0 && this.submitted.every((entry) => entry.outcome !== "open");
    if (!done()) this.kernel.run(this.kernel.now + ms, done);
    assert.ok(done(), `not settled: ${JSON.stringify(this.model.inspect())}`);
    return this;
  }

  /** What holds after every history. */
  check(): void {
    assert.deepEqual(this.cluster.altered, [], "a retransmission differed from what was sent first");
    assert.equal(this.cluster.malformed, 0);
    for (let i = 1; i < this.executed.length; i++) {
      assert.ok(
        this.executed[i]! > this.executed[i - 1]!,
        `executed out of order or twice: ${this.executed.join(" ")}`,
      );
    }
    const executed = new Set(this.executed);
    for (const { firstId, commands, read, outcome } of this.submitted) {
      for (let id = firstId; id < firstId + commands; id++) {
        if (read) assert.ok(!executed.has(id));
        else if (outcome === "resolved") assert.ok(executed.has(id), `command ${id} was answered and not executed`);
        else if (outcome === "try-again" || outcome === "session-expired") {
          assert.ok(!executed.has(id), `command ${id} failed with ${outcome} and was executed`);
        }
      }
    }
  }

  #send(to: ReplicaId, kind: number, body: Uint8Array): void {
    this.sent.push({ at: this.kernel.now, to, kind });
    if (!this.up.has(to)) return;
    this.#carry(() => {
      if (!this.up.has(to)) return;
      for (const frame of this.cluster.receive(to, kind, body)) this.deliver(to, frame);
    });
  }

  /** Sends a frame from a replica to the client. */
  deliver(from: ReplicaId, frame: Frame): void {
    this.#carry(() => {
      if (!this.up.has(from)) return;
      const { now } = this.kernel;
      if (frame.kind === FrameKind.reply) {
        const span = spanOf(frame.body);
        assert.equal(checkReply(span.view, 0, span.end), span.end);
        this.model.step({ kind: "reply", now, from, span }, this.sink);
      } else {
        const leader = new DataView(frame.body.buffer, frame.body.byteOffset).getUint32(0, true);
        this.model.step({ kind: "redirect", now, from, leader }, this.sink);
      }
    });
  }

  #carry(arrive: () => void): void {
    if (this.prng.chance(this.faults.lose)) return;
    const { delayMsMin, delayMsMax } = this.faults;
    const copies = this.prng.chance(this.faults.repeat) ? 2 : 1;
    for (let i = 0; i < copies; i++) this.kernel.after(this.prng.between(delayMsMin, delayMsMax), arrive);
  }

  #wakeAt(time: number): void {
    this.#wake = time;
    if (time === Infinity) return;
    this.kernel.at(time, () => {
      if (this.#wake !== time) return;
      this.#wake = Infinity;
      this.model.step({ kind: "tick", now: this.kernel.now }, this.sink);
    });
  }

  #resolve(token: number, replies: Span): void {
    const entry = this.submitted[token]!;
    const count = replyCount(replies.view, replies.start);
    const ids = Array.from({ length: count }, (_, i) => replies.view.getUint32(replies.start + 32 + 8 * i + 4, true));
    assert.deepEqual(
      ids,
      Array.from({ length: count }, (_, i) => entry.firstId + entry.answered + i),
    );
    entry.answered += count;
    if (replyStatus(replies.view, replies.start) === ReplyStatus.split) return this.#more(token, entry);
    assert.equal(entry.answered, entry.commands);
    this.#settle(token, "resolved");
  }

  /** Asks for the rest, sometimes at once and sometimes later. */
  #more(token: number, entry: Submitted): void {
    assert.ok(entry.read && entry.answered < entry.commands && entry.outcome === "open");
    this.parts++;
    const ask = (): void => {
      if (entry.outcome !== "open") return;
      const { now } = this.kernel;
      this.model.step({ kind: "more", now, token, deadline: now + 5000 }, this.sink);
    };
    if (this.prng.chance(0.5)) ask();
    else this.kernel.after(this.prng.below(50), ask);
  }

  #settle(token: number, outcome: Submitted["outcome"]): void {
    const entry = this.submitted[token]!;
    assert.equal(entry.outcome, "open", `block ${token} was told ${entry.outcome} and then ${outcome}`);
    entry.outcome = outcome;
  }
}

describe("a session client", () => {
  test("opens a session, numbers blocks from 1 without gaps and resolves them", () => {
    const world = new World(1).start();
    const blocks = [world.submit(3), world.submit(1), world.submit(2)];
    assert.equal(world.model.inspect().session, 0);
    world.settle().check();
    assert.ok(blocks.every((block) => block.outcome === "resolved"));
    assert.deepEqual(world.executed, [1, 2, 3, 4, 5, 6]);
    assert.ok(world.model.inspect().session > 0);
    assert.equal(world.model.inspect().leader, 1);
    assert.equal(world.cluster.opened, 1, "the session was opened once");
  });

  test("finds the leader by redirects and sends nothing twice on a healthy network", () => {
    for (const leader of replicas) {
      const world = new World(2, {}, leader).start();
      world.settle();
      for (let i = 0; i < 50; i++) world.submit();
      world.settle().check();
      assert.equal(world.model.inspect().leader, leader);
      const commands = world.cluster.received.filter((block) => block.kind === BlockKind.commands);
      assert.equal(commands.length, 50);
    }
  });

  test("sends ordered blocks and reads of one turn to the leader, reads outside the sequence", () => {
    const world = new World(3).start();
    world.run(20);
    const outcomes = [world.submit(2), world.submit(4, { read: true }), world.submit(1)];
    world.settle().check();
    assert.ok(outcomes.every((block) => block.outcome === "resolved"));
    assert.deepEqual(world.executed, [1, 2, 7]);
    const reads = world.cluster.received.filter((block) => block.kind === BlockKind.read);
    assert.deepEqual(reads, [{ replica: 1, kind: BlockKind.read, sequence: 1, session: 0 }]);
  });

  test("reads on what was left of a block whose replies did not fit, in order and under tickets of their own", () => {
    const world = new World(1).start();
    world.run(20);
    world.cluster.readCommandsMax = 3;
    const blocks = [world.submit(10, { read: true }), world.submit(3, { read: true }), world.submit(4)];
    world.settle().check();
    assert.ok(blocks.every((block) => block.outcome === "resolved"));
    assert.equal(world.parts, 3, "of 10 commands three parts leave something");
    const tickets = world.cluster.received
      .filter(({ kind }) => kind === BlockKind.read)
      .map(({ sequence }) => sequence);
    assert.equal(new Set(tickets).size, 5);
  });

  test("holds what is left of a block until more is asked for, and fails it when closed", () => {
    const world = new World(1, { blocksMax: 1 }).start();
    world.run(20);
    world.cluster.readCommandsMax = 1;
    // Replies that come while the client is being closed down are of no use to anybody.
    const block = world.submit(2, { read: true });
    while (world.parts === 0) world.run(1);
    assert.equal(world.model.inspect().blocksOpen, 1);
    assert.equal(world.model.inspect().open, false);
    world.close();
    assert.equal(block.outcome, "closed");
  });

  test("resolves reads before a session is open", () => {
    const world = new World(3, {}).start([]);
    const read = world.submit(1, { read: true });
    world.link(1, true);
    world.deliver(1, world.cluster.redirect(1));
    world.run(5);
    assert.equal(read.outcome, "resolved");
  });

  test("sends a read again that a replica had no room for", () => {
    const world = new World(3).start();
    world.run(20);
    world.cluster.retryReadsNext = 2;
    const read = world.submit(1, { read: true });
    world.settle().check();
    assert.equal(read.outcome, "resolved");
    assert.equal(world.cluster.received.filter((block) => block.kind === BlockKind.read).length, 3);
  });

  test("retransmits after 300 to 360 ms without progress", () => {
    const world = new World(4).start();
    world.run(20);
    world.faults.lose = 1;
    const block = world.submit();
    const at = world.kernel.now;
    const before = world.sent.length;
    world.faults.lose = 0;
    world.run(299);
    assert.equal(world.sent.length, before);
    world.settle().check();
    assert.equal(block.outcome, "resolved");
    const again = world.sent[before]!.at - at;
    assert.ok(again >= 300 && again <= 361, `sent again after ${again} ms`);
  });

  test("fills a gap when the service asks for it, once however often it asks", () => {
    const world = new World(5).start();
    world.run(20);
    world.faults.lose = 1;
    world.submit();
    world.faults.lose = 0;
    for (let i = 0; i < 100; i++) world.submit();
    world.run(20).check();
    assert.ok(world.submitted.every((block) => block.outcome === "resolved"));
    const commands = world.cluster.received.filter((block) => block.kind === BlockKind.commands);
    assert.equal(commands.length, 201, "100 behind the gap, and 101 sent again");
  });

  test("moves everything unanswered to the next leader when the link goes down", () => {
    const world = new World(6).start();
    world.run(20);
    world.cluster.silent.add(1);
    for (let i = 0; i < 20; i++) world.submit();
    world.run(10);
    world.cluster.elect(3);
    world.cluster.tell(2, 3);
    const at = world.kernel.now;
    world.link(1, false);
    world.settle().check();
    assert.ok(world.kernel.now - at < 100, `took ${world.kernel.now - at} ms`);
    assert.equal(world.model.inspect().leader, 3);
    assert.ok(world.submitted.every((block) => block.outcome === "resolved"));
  });

  test("looks for another leader when the one it knows falls silent on an open link", () => {
    const world = new World(7).start();
    world.run(20);
    world.cluster.silent.add(1);
    const block = world.submit();
    world.cluster.elect(2);
    // Replica 3 goes on naming the silent one for a while.
    world.kernel.after(600, () => world.cluster.tell(3, 2));
    const at = world.kernel.now;
    world.settle().check();
    assert.equal(block.outcome, "resolved");
    assert.ok(world.kernel.now - at < 1000, `took ${world.kernel.now - at} ms`);
  });

  test("believes a follower that names another leader while its own is silent", () => {
    const world = new World(8).start();
    world.run(20);
    world.cluster.silent.add(1);
    world.submit();
    world.cluster.elect(2);
    world.run(100);
    world.deliver(3, world.cluster.redirect(2));
    world.run(10).check();
    assert.equal(world.model.inspect().leader, 2);
    assert.equal(world.submitted[0]!.outcome, "resolved");
  });

  test("asks a leader again that could not take a block", () => {
    const world = new World(9).start();
    world.run(20);
    world.cluster.refuseNext = 3;
    for (let i = 0; i < 3; i++) world.submit();
    world.run(60).check();
    assert.ok(world.submitted.every((block) => block.outcome === "resolved"));
  });

  test("replicas that point at each other are not flooded", () => {
    const world = new World(10).start();
    world.run(20);
    world.cluster.elect(0);
    world.cluster.tell(1, 2);
    world.cluster.tell(2, 1);
    world.cluster.tell(3, 1);
    for (let i = 0; i < 200; i++) world.submit();
    const before = world.sent.length;
    world.run(1000);
    assert.ok(world.sent.length - before < 1100, `${world.sent.length - before} frames in a second`);
    world.cluster.elect(3);
    world.cluster.tell(1, 3);
    world.cluster.tell(2, 3);
    world.settle().check();
    assert.ok(world.submitted.every((block) => block.outcome === "resolved"));
  });

  test("a deadline before the first send gives the place in the order up: try-again", () => {
    const world = new World(11).start([]);
    const dropped = world.submit(1, { deadlineMs: 50 });
    const kept = world.submit(1, { deadlineMs: 5000 });
    world.run(100);
    assert.equal(dropped.outcome, "try-again");
    for (const replica of replicas) world.link(replica, true);
    world.settle().check();
    assert.equal(kept.outcome, "resolved");
    assert.deepEqual(world.executed, [2]);
  });

  test("a deadline after the first send: indeterminate, and the block keeps the sequence dense", () => {
    const world = new World(12).start();
    world.run(20);
    world.cluster.silent.add(1).add(2).add(3);
    const block = world.submit(1, { deadlineMs: 100 });
    world.run(200);
    assert.equal(block.outcome, "indeterminate");
    assert.equal(world.model.inspect().blocksOpen, 1);
    world.cluster.silent.clear();
    const next = world.submit();
    world.settle().check();
    assert.equal(next.outcome, "resolved");
    assert.deepEqual(world.executed, [1, 2]);
  });

  test("a read whose deadline passes is dropped: try-again", () => {
    const world = new World(13).start();
    world.run(20);
    world.cluster.silent.add(1).add(2).add(3);
    const read = world.submit(1, { read: true, deadlineMs: 100 });
    world.run(200);
    assert.equal(read.outcome, "try-again");
    assert.equal(world.model.inspect().blocksOpen, 0);
    assert.equal(world.model.inspect().bytesOpen, 0);
  });

  test("a lost reply that the service no longer has: indeterminate", () => {
    const world = new World(14).start();
    world.run(20);
    const block = world.submit();
    world.kernel.after(1.01, () => (world.faults.lose = 1));
    world.link(1, false);
    world.link(1, true);
    world.settle();
    const { session } = world.model.inspect();
    // Executed once and forgotten: the copy that follows finds no replies.
    assert.equal(block.outcome, "resolved");
    world.faults.lose = 0;
    world.cluster.sessions.get(session)!.next = 3;
    const stale = world.submit();
    world.settle();
    assert.equal(stale.outcome, "indeterminate");
  });

  test("an expired session fails what was sent, opens another and goes on", () => {
    const world = new World(15).start();
    world.run(20);
    const before = world.model.inspect().session;
    world.cluster.expireSessions();
    const sent = world.submit();
    world.settle().check();
    assert.equal(sent.outcome, "indeterminate");
    const next = world.submit(2);
    world.settle().check();
    assert.equal(next.outcome, "resolved");
    assert.ok(world.model.inspect().session > before);
    const nonces = [...world.cluster.seen.keys()].filter((name) => name.startsWith("open "));
    assert.equal(nonces.length, 2, "each session is opened under its own nonce");
  });

  test("a block that waited behind an expired session fails as certainly not applied", () => {
    const world = new World(16).start();
    world.run(20);
    world.cluster.expireSessions();
    world.cluster.silent.add(1).add(2).add(3);
    const sent = world.submit();
    world.link(1, false);
    const waiting = world.submit();
    world.cluster.silent.clear();
    world.cluster.elect(2);
    world.settle().check();
    assert.deepEqual([sent.outcome, waiting.outcome], ["indeterminate", "session-expired"]);
  });

  test("a session that idled is replaced before it is used", () => {
    const world = new World(17, { sessionIdleMs: 10_000 }).start();
    world.submit();
    world.settle();
    world.run(11_000);
    world.cluster.expireSessions();
    const block = world.submit();
    world.settle().check();
    assert.equal(block.outcome, "resolved");
    assert.equal(world.cluster.opened, 2);
  });

  test("the window is bounded in blocks and bytes and says when it opens", () => {
    const world = new World(18, { blocksMax: 4 }).start([]);
    for (let i = 0; i < 4; i++) world.submit();
    assert.equal(world.model.inspect().open, false);
    assert.throws(() => world.submit(), /window is full/);
    world.submitted.pop();
    for (const replica of replicas) world.link(replica, true);
    world.settle().check();
    assert.equal(world.opened, 1);
    assert.equal(world.model.inspect().open, true);
    assert.equal(world.model.inspect().bytesOpen, 0);
  });

  test("closing fails what is open and ends the session", () => {
    const world = new World(19).start();
    world.submit();
    world.settle();
    world.cluster.silent.add(1);
    const blocks = [world.submit(), world.submit(1, { read: true })];
    world.cluster.silent.clear();
    world.close();
    world.run(10);
    assert.ok(blocks.every((block) => block.outcome === "closed"));
    assert.equal(world.cluster.closed, 1);
    assert.equal(world.model.inspect().open, false);
  });

  test("a configuration out of bounds is refused with both numbers", () => {
    assert.throws(() => sessionClientConfig({ retransmitMs: 2000 }), ConfigError);
    assert.throws(() => sessionClientConfig({ retransmitMs: 2000 }), /retransmitMsMax = 1500, got 2000/);
    assert.throws(() => sessionClientConfig({ blocksMax: 0 }), ConfigError);
    assert.throws(() => sessionClientConfig({ bytesMax: 100 }), ConfigError);
    assert.throws(() => sessionClientConfig({ sessionIdleMs: 1000 }), ConfigError);
  });
});

/** Random faults for some virtual seconds, then a healthy cluster. */
function history(seed: number): World {
  const world = new World(seed, { blocksMax: 32, seed });
  const { prng, cluster, kernel } = world;
  const faultsEnd = 8000;
  Object.assign(world.faults, {
    lose: prng.float() * 0.3,
    repeat: prng.float() * 0.3,
    delayMsMin: 0,
    delayMsMax: prng.pick([2, 30, 200]),
  });
  world.start();
  const every = recurring(kernel, prng, faultsEnd);
  every(15, () => {
    if (!world.model.inspect().open) return;
    world.submit(1 + prng.below(3), { read: prng.chance(0.3), deadlineMs: prng.pick([50, 400, 5000]) });
  });
  every(700, () => {
    cluster.elect(prng.pick([0, 1, 2, 3]));
    for (const replica of replicas) {
      kernel.after(prng.float() * 600, () => cluster.tell(replica, prng.chance(0.8) ? cluster.leader : prng.below(4)));
    }
  });
  every(500, () => world.link(prng.pick(replicas), prng.chance(0.6)));
  every(600, () => (prng.chance(0.4) ? cluster.silent.add(prng.pick(replicas)) : cluster.silent.clear()));
  every(900, () => (cluster.refuseNext = prng.below(5)));
  every(900, () => (cluster.retryReadsNext = prng.below(5)));
  every(900, () => (cluster.readCommandsMax = 1 + prng.below(3)));
  if (prng.chance(0.5)) every(2500, () => cluster.expireSessions());
  if (prng.chance(0.3)) every(800, () => cluster.sessions.forEach((session) => session.replies.clear()));
  world.run(faultsEnd);
  Object.assign(world.faults, { lose: 0, repeat: 0, delayMsMax: 2 });
  cluster.silent.clear();
  cluster.refuseNext = 0;
  cluster.retryReadsNext = 0;
  cluster.elect(prng.pick(replicas));
  for (const replica of replicas) {
    cluster.tell(replica, cluster.leader);
    world.link(replica, true);
  }
  return world;
}

describe("over random faults", () => {
  test("every block has one outcome, the service sees one dense sequence, and the client recovers", () => {
    let resolved = 0;
    let failed = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (seed) => {
        const world = history(seed);
        world.settle(20_000).check();
        const probe = world.submit();
        world.settle(20_000).check();
        // A forgotten session is the one thing that a healthy cluster may still have in store.
        if (probe.outcome !== "resolved") {
          assert.equal(probe.outcome, "indeterminate");
          const second = world.submit();
          world.settle(20_000).check();
          assert.equal(second.outcome, "resolved");
        }
        for (const { outcome } of world.submitted) {
          if (outcome === "resolved") resolved++;
          else failed++;
        }
      }),
      { numRuns: 150 },
    );
    assert.ok(resolved > 1000 && failed > 100, `too tame: ${resolved} resolved, ${failed} failed`);
  });
});
