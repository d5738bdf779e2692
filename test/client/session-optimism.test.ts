/**
 * Clients of streams in which commands fail opt-PSMR's safety check: a block is done when all of its commands are executed, in
 * parallel mode or by conservative copies that the replicas or the client multicast, however much of that is lost or comes twice.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, Prng } from "#src/base/index.js";
import { createSessionClient, type SessionClientConfig, sessionClientConfig } from "#src/client/index.js";
import {
  beginReply,
  blockAcknowledged,
  BlockKind,
  blockKind,
  blockSequence,
  blockSession,
  checkBlock,
  checkReply,
  type ClientSink,
  ConfigError,
  endReply,
  FAILED_REPLY_BYTES,
  FrameKind,
  REPLY_HEADER_BYTES,
  replyCount,
  replyKind,
  ReplyStatus,
  replyStatus,
  type Span,
  stampBlock,
  stampReplyStatus,
} from "#src/model/index.js";
import { recurring } from "./recurring.js";
import { type Optimism, replicas, type Submitted, World } from "./streams-world.js";

const modes = ["replicas", "client"] as const;

/** A world with two groups whose client knows every leader. */
function newWorld(seed: number, optimism: Partial<Optimism> = {}, config: Partial<SessionClientConfig> = {}): World {
  const world = new World(seed, 2, config, { resubmit: "replicas", strict: false, failing: 0, ...optimism }).start();
  for (const lane of world.lanes) world.deliver(lane, 1, lane.cluster.redirect(lane.cluster.leader));
  return world.run(20);
}

/** The settings of a world, which a test changes as it goes. */
function settings(world: World): Optimism {
  assert.ok(world.optimism !== null);
  return world.optimism;
}

const outcomes = (blocks: readonly Submitted[]): string[] => blocks.map(({ outcome }) => outcome);

/** Frames of a kind that a stream's cluster has received. */
function received(world: World, stream: number, kind: BlockKind): number {
  return world.lanes[stream]!.cluster.received.filter((block) => block.kind === kind).length;
}

for (const resubmit of modes) {
  describe(`failed commands that the ${resubmit === "client" ? "client multicasts" : "replicas multicast"} again`, () => {
    test("are executed in g_all, and their block is resolved once, whole", () => {
      const world = newWorld(1, { resubmit, failing: 0.5 });
      const blocks = Array.from({ length: 40 }, (_, i) => world.submit(1 + (i % 2), 1 + (i % 7)));
      world.settle().check();
      assert.ok(blocks.every(({ outcome }) => outcome === "resolved"));
      const failed = world.lanes.reduce((sum, { cluster }) => sum + cluster.failed, 0);
      assert.ok(failed > 20);
      assert.equal(
        blocks.reduce((sum, { pending }) => sum + pending, 0),
        failed,
      );
      assert.equal(world.resubmitted > 0, resubmit === "client");
    });

    test("leave what passes alone: nothing is told, and nothing is sent twice", () => {
      const world = newWorld(2, { resubmit });
      const blocks = Array.from({ length: 20 }, () => world.submit(1, 3));
      world.settle().check();
      assert.ok(blocks.every(({ outcome, pending }) => outcome === "resolved" && pending === 0));
      assert.equal(received(world, 1, BlockKind.commands), 20);
      assert.equal(received(world, 0, BlockKind.conservative), 0);
    });

    test("hold the acknowledgement back until they are executed", () => {
      const world = newWorld(3, { resubmit });
      const acknowledged: number[] = [];
      settings(world).onSend = (stream, kind, view) => {
        if (stream === 1 && kind === FrameKind.block) acknowledged.push(blockAcknowledged(view, 0));
      };
      world.submit(1, 2);
      world.run(10);
      settings(world).failing = 1;
      // With g_all without a leader nothing of it can be executed.
      world.lanes[0]!.cluster.elect(0);
      const waiting = world.submit(1, 3);
      world.run(10);
      settings(world).failing = 0;
      const others = Array.from({ length: 3 }, () => {
        const block = world.submit(1);
        world.run(10);
        return block;
      });
      assert.equal(waiting.pending, 3);
      assert.equal(waiting.outcome, "open");
      assert.deepEqual(new Set(acknowledged), new Set([0, 2]));
      world.lanes[0]!.cluster.elect(2);
      world.settle();
      world.submit(1);
      world.settle().check();
      assert.equal(acknowledged.at(-1), 8);
      assert.deepEqual(outcomes([waiting, ...others]), ["resolved", "resolved", "resolved", "resolved"]);
    });

    test("are asked for again when their replies were lost, and no others are suspected meanwhile", () => {
      const world = newWorld(4, { resubmit, failing: 1 });
      const { cluster, model } = world.lanes[1]!;
      const leader = model.inspect().leader;
      world.lanes[0]!.cluster.elect(0);
      const block = world.submit(1, 2);
      world.run(1500);
      assert.equal(block.outcome, "open");
      assert.ok(received(world, 1, BlockKind.commands) > 1, "the block is sent again as it is");
      assert.equal(model.inspect().leader, leader);
      assert.ok(
        cluster.received.every(({ replica }) => replica === leader),
        "its leader answers, and is believed to lead",
      );
      world.lanes[0]!.cluster.elect(1);
      world.settle().check();
      assert.equal(block.outcome, "resolved");
    });

    test("fail with their block as perhaps applied when its deadline passes, and are waited for nevertheless", () => {
      const world = newWorld(5, { resubmit, failing: 1 });
      world.lanes[0]!.cluster.elect(0);
      const block = world.submit(1, 2, { deadlineMs: 100 });
      world.run(200);
      assert.deepEqual([block.outcome, block.pending], ["indeterminate", 2]);
      assert.equal(world.lanes[1]!.model.inspect().blocksOpen, 1);
      world.lanes[0]!.cluster.elect(1);
      world.settle().check();
      assert.equal(world.lanes[1]!.executed.length, 2);
    });

    test("whose replies the service has forgotten make their block's outcome unknown", () => {
      const world = newWorld(6, { resubmit, failing: 1 });
      // Everything is executed, and the answers get lost on their way.
      settings(world).onReply = (stream, view) => {
        if (stream === 1 && replyKind(view, 0) === BlockKind.conservative) stampReplyStatus(view, 0, ReplyStatus.retry);
      };
      const block = world.submit(1, 2);
      world.run(20);
      delete settings(world).onReply;
      assert.equal(world.lanes[1]!.executed.length, 2);
      for (const { cluster } of world.lanes) cluster.forgetReplies();
      world.settle().check();
      assert.equal(block.outcome, "indeterminate");
      settings(world).failing = 0;
      assert.equal(world.submit(1).outcome, "open");
      world.settle().check();
    });

    test("are given up with their session", () => {
      const world = newWorld(7, { resubmit, failing: 1 });
      world.lanes[0]!.cluster.elect(0);
      const blocks = [world.submit(1), world.submit(1, 2)];
      world.run(50);
      world.lanes[1]!.cluster.expireSessions();
      world.run(1000);
      world.lanes[0]!.cluster.elect(3);
      world.settle().check();
      assert.deepEqual(outcomes(blocks), ["indeterminate", "indeterminate"]);
      assert.equal(world.lanes[1]!.executed.length, 0);
    });

    test("fail with `closed` when the client is closed", () => {
      const world = newWorld(8, { resubmit, failing: 1 });
      world.lanes[0]!.cluster.elect(0);
      const block = world.submit(1);
      world.run(50);
      world.close();
      assert.equal(block.outcome, "closed");
      world.run(2000).check();
    });

    test("hold replies within a bound: those of later blocks are asked for again when there is room", () => {
      const world = newWorld(9, { resubmit, failing: 0.9 }, { repliesHeldBytesMax: 200 });
      world.lanes[0]!.cluster.elect(0);
      const blocks = Array.from({ length: 8 }, () => world.submit(1, 10));
      world.run(100);
      const told = blocks.filter(({ pending }) => pending > 0).length;
      assert.ok(told > 0 && told < blocks.length, `${told} blocks`);
      world.lanes[0]!.cluster.elect(1);
      world.settle().check();
      assert.ok(blocks.every(({ outcome, pending }) => outcome === "resolved" && pending > 0));
    });

    test("keep what comes after them in a strict session waiting", () => {
      const world = newWorld(10, { resubmit, strict: true, failing: 1 });
      world.lanes[0]!.cluster.elect(0);
      world.submit(1);
      world.run(10);
      settings(world).failing = 0;
      const later = world.submit(1, 3);
      world.run(10);
      assert.equal(later.pending, 3);
      assert.deepEqual(world.lanes[1]!.executed, []);
      world.lanes[0]!.cluster.elect(1);
      world.settle().check();
      assert.deepEqual(world.lanes[1]!.executed, [1, 2, 3, 4]);
    });
  });
}

describe("a client that multicasts failed commands again", () => {
  test("puts consecutive ones in one block, and forgets it while g_all has no leader", () => {
    const world = newWorld(11, { resubmit: "client", failing: 1 });
    world.submit(1, 5);
    world.settle().check();
    assert.equal(world.resubmitted, 1);
    assert.equal(received(world, 0, BlockKind.conservative), 1);
    for (const replica of replicas) world.link(0, replica, false);
    const block = world.submit(1, 5);
    world.run(100);
    assert.equal(received(world, 0, BlockKind.conservative), 1);
    assert.equal(block.pending, 5);
    for (const replica of replicas) world.link(0, replica, true);
    world.settle().check();
    assert.equal(block.outcome, "resolved");
  });

  test("sends a copy again that was refused for an earlier command, once that is executed", () => {
    const world = newWorld(12, { resubmit: "client", strict: true, failing: 1 });
    // The first copy gets lost, so that the second comes before it.
    let lost = 0;
    settings(world).onSend = (stream, kind, view) => {
      if (stream === 0 && kind === FrameKind.block && blockKind(view, 0) === BlockKind.conservative && lost++ === 0) {
        stampBlock(view, 0, blockSession(view, 0) + 1e6, blockSequence(view, 0), 0);
      }
    };
    const blocks = [world.submit(1), world.submit(1)];
    world.run(20);
    const { cluster } = world.lanes[1]!;
    assert.equal(cluster.refusedForSibling, 1);
    assert.equal(received(world, 1, BlockKind.commands), 2, "nothing was sent again before the timeout");
    world.settle().check();
    assert.deepEqual(outcomes(blocks), ["resolved", "resolved"]);
  });

  test("finds another leader of g_all although the one it knows just falls silent", () => {
    const world = newWorld(13, { resubmit: "client" });
    world.submit(0);
    world.settle();
    const { cluster, model } = world.lanes[0]!;
    const { leader } = model.inspect();
    cluster.silent.add(leader);
    cluster.elect(leader === 1 ? 2 : 1);
    for (const replica of replicas) cluster.tell(replica, cluster.leader);
    settings(world).failing = 1;
    const blocks = [world.submit(1), world.submit(2)];
    world.run(1000).check();
    assert.deepEqual(outcomes(blocks), ["resolved", "resolved"]);
    assert.equal(model.inspect().leader, cluster.leader);
  });

  test("is no one but a client of stream 0 asked to send conservative blocks", () => {
    const nonce = new Uint8Array(16);
    const model = createSessionClient({ replicas, nonce, stream: 1 });
    const span = { bytes: nonce, view: new DataView(nonce.buffer), start: 0, end: 16 };
    assert.throws(() => model.step({ kind: "resubmit", now: 0, span, again: false }, {} as never), /through g_all/);
  });
});

/** A well-formed reply block of any kind and status, often one that fits one of the blocks with so many commands each. */
function anyReply(prng: Prng, blocks: readonly number[]): Span {
  const block = prng.below(blocks.length + 1);
  const sequence = 1 + blocks.slice(0, block).reduce((sum, commands) => sum + commands, 0);
  const writer = new ByteWriter(128);
  const kind = prng.pick([BlockKind.commands, BlockKind.conservative, BlockKind.conservative, BlockKind.read]);
  const status = prng.pick(prng.chance(0.97) ? [ReplyStatus.ok, ReplyStatus.failed] : Object.values(ReplyStatus));
  const begun = beginReply(
    writer,
    prng.chance(0.95) ? 7 : 8,
    prng.chance(0.8) ? sequence : prng.below(24),
    status,
    kind,
  );
  const count = prng.chance(0.8) ? (blocks[block] ?? 0) : prng.below(6);
  for (let i = 0; i < count; i++) {
    const length = prng.chance(0.4) ? 0 : 1 + prng.below(9);
    writer.u32(4 + length);
    writer.skip(length);
  }
  endReply(writer, begun, count);
  const bytes = writer.toBytes();
  const view = new DataView(bytes.buffer);
  assert.equal(checkReply(view, 0, bytes.length), bytes.length);
  return { bytes, view, start: 0, end: bytes.length };
}

test("whatever replicas say, a block has one outcome, and what is put together of parts is whole", () => {
  const seen = { resolved: 0, failed: 0, pending: 0 };
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(...modes), (seed, resubmit) => {
      const prng = new Prng(seed);
      const commands: number[] = [];
      const settled = new Set<number>();
      const told = new Set<number>();
      const settle = (token: number): void => {
        assert.ok(!settled.has(token));
        settled.add(token);
      };
      const sink: ClientSink = {
        send: () => undefined,
        resolve: (token, { view, start, end }) => {
          settle(token);
          seen.resolved++;
          assert.equal(checkReply(view, start, end), end - start);
          assert.equal(replyStatus(view, start), ReplyStatus.ok);
          assert.equal(replyCount(view, start), commands[token]);
          if (!told.has(token)) return;
          for (let i = 0, at = start + REPLY_HEADER_BYTES; i < commands[token]!; i++) {
            assert.ok(view.getUint32(at, true) > FAILED_REPLY_BYTES, "a reply is missing");
            at += view.getUint32(at, true);
          }
        },
        fail: (token) => {
          settle(token);
          seen.failed++;
        },
        predict: () => assert.fail(),
        rollback: () => assert.fail(),
        borrow: () => undefined,
        lend: () => assert.fail(),
        pending: (token, count) => {
          assert.ok(!settled.has(token) && !told.has(token) && count >= 1 && count <= commands[token]!);
          told.add(token);
          seen.pending++;
        },
        resubmit: (block) => {
          assert.equal(resubmit, "client");
          assert.equal(checkBlock(block.view, block.start, block.end), block.end - block.start);
        },
        wakeAt: () => undefined,
        opened: () => undefined,
      };
      const nonce = new Uint8Array(16);
      const model = createSessionClient({ replicas, nonce, stream: 1, resubmit }, { repliesHeldBytesMax: 200 });
      model.step({ kind: "start", now: 0 }, sink);
      model.step({ kind: "link", now: 0, replica: 1, up: true }, sink);
      model.step({ kind: "redirect", now: 0, from: 1, leader: 1 }, sink);
      model.step({ kind: "lend", now: 0, session: 7 }, sink);
      for (let now = 1; now < 200; now++) {
        if (model.inspect().session === 0) model.step({ kind: "lend", now, session: 7 }, sink);
        if (prng.chance(0.15) && commands.length < 8) {
          const count = 1 + prng.below(5);
          const token = commands.push(count) - 1;
          const bytes = new Uint8Array(8 * count);
          for (let i = 0; i < count; i++) bytes[8 * i] = 8;
          const span = { bytes, view: new DataView(bytes.buffer), start: 0, end: bytes.length };
          model.step({ kind: "submit", now, token, read: false, commands: count, span, deadline: now + 150 }, sink);
        } else if (prng.chance(0.1)) model.step({ kind: "tick", now }, sink);
        else model.step({ kind: "reply", now, from: 1, span: anyReply(prng, commands) }, sink);
      }
      model.step({ kind: "close", now: 200 }, sink);
      assert.equal(settled.size, commands.length);
    }),
    { numRuns: 300 },
  );
  assert.ok(seen.resolved > 20 && seen.failed > 20 && seen.pending > 20, JSON.stringify(seen));
});

test("a bound of replies held that is none is refused", () => {
  assert.throws(() => sessionClientConfig({ repliesHeldBytesMax: -1 }), ConfigError);
  assert.throws(() => sessionClientConfig({ repliesHeldBytesMax: NaN }), ConfigError);
});

/** Random faults and failures for some virtual seconds, then a healthy cluster. */
function history(seed: number, mistake: Partial<Optimism> = {}): World {
  const optimism: Optimism = { resubmit: modes[seed % 2]!, strict: seed % 4 < 2, failing: 0, ...mistake };
  const config = seed % 5 === 0 ? { repliesHeldBytesMax: 300 } : {};
  const world = new World(seed, 1 + (seed % 3), { blocksMax: 32, seed, ...config }, optimism);
  const { prng, kernel } = world;
  const faultsEnd = 3000;
  optimism.failing = prng.pick([0.02, 0.2, 0.7]);
  Object.assign(world.faults, {
    lose: prng.float() * 0.25,
    repeat: prng.float() * 0.3,
    delayMsMin: 0,
    delayMsMax: prng.pick([2, 30, 150]),
  });
  world.start();
  const every = recurring(kernel, prng, faultsEnd);
  for (const { stream, cluster, model } of world.lanes) {
    every(prng.pick([20, 60, 400]), () => {
      if (model.inspect().open) world.submit(stream, 1 + prng.below(5), { deadlineMs: prng.pick([50, 400, 5000]) });
    });
    every(1500, () => {
      cluster.elect(prng.pick([0, 1, 2, 3]));
      for (const replica of replicas) kernel.after(prng.float() * 400, () => cluster.tell(replica, cluster.leader));
    });
    every(900, () => world.link(stream, prng.pick(replicas), prng.chance(0.6)));
    if (prng.chance(0.3)) every(1500, () => cluster.expireSessions());
    if (prng.chance(0.3)) every(500, () => cluster.forgetReplies());
  }
  world.run(faultsEnd);
  Object.assign(world.faults, { lose: 0, repeat: 0, delayMsMax: 2 });
  for (const { stream, cluster } of world.lanes) {
    cluster.elect(prng.pick(replicas));
    for (const replica of replicas) {
      cluster.tell(replica, cluster.leader);
      world.link(stream, replica, true);
    }
  }
  return world;
}

describe("over random faults and failed commands", () => {
  test("every block has one outcome and whole replies, and conflicting commands keep their order", () => {
    const seen = new Map<string, number>();
    let [failed, refused] = [0, 0];
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (seed) => {
        const world = history(seed).settle(30_000);
        world.check();
        for (const { outcome } of world.submitted) seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
        for (const { cluster } of world.lanes) {
          failed += cluster.failed;
          refused += cluster.refusedForSibling;
        }
      }),
      { numRuns: 40 },
    );
    for (const outcome of ["resolved", "try-again", "indeterminate"]) {
      assert.ok((seen.get(outcome) ?? 0) > 10, `too tame: ${JSON.stringify([...seen])}`);
    }
    assert.ok(failed > 200 && refused > 0, `too tame: ${failed} failed, ${refused} refused`);
  });

  /** Mistakes of a client, and what tells of them. */
  const mistakes: readonly { name: string; told: RegExp; mistake: Partial<Optimism> }[] = [
    {
      name: "acknowledges past a command that waits to be executed",
      told: /acknowledged/,
      mistake: {
        onSend: (stream, kind, view) => {
          if (stream === 0 || kind !== FrameKind.block) return;
          stampBlock(view, 0, blockSession(view, 0), blockSequence(view, 0), blockSequence(view, 0) - 1);
        },
      },
    },
    {
      name: "resolves a block before all of its commands are executed",
      told: /whole reply/,
      mistake: {
        onReply: (_stream, view) => {
          if (replyStatus(view, 0) === ReplyStatus.failed) stampReplyStatus(view, 0, ReplyStatus.ok);
        },
      },
    },
  ];
  for (const { name, told, mistake } of mistakes) {
    test(`a client is found out that ${name}`, () => {
      const found = [1, 2, 3, 4].filter((seed) => {
        try {
          history(seed, mistake).settle(30_000).check();
          return false;
        } catch (error) {
          assert.match(String(error), told);
          return true;
        }
      });
      assert.ok(found.length > 0);
    });
  }
});
