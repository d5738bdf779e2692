/** What is decided, executed and durable need not be in memory: peers that are behind are served from disk. */
import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import fc from "fast-check";
import { BatchArena } from "#src/model/index.js";
import { InstanceLog } from "#src/ordering/instance-log/index.js";
import { Group, type Member, type Sent } from "./group.js";

/** Everything that may be evicted is. */
const config = { logMemoryBytesMax: 0, catchUpBytes: 64 * 1024 };

function order(group: Group, texts: readonly string[]): void {
  for (const text of texts) {
    group.leader.propose(text);
    group.run(10);
  }
}

function execute(...members: readonly Member[]): void {
  for (const member of members) {
    const through = member.protocol.inspect().decided;
    member.step({ kind: "executed", now: member.group.now, through, speculative: false, replies: null });
    member.settle();
  }
}

/** A group of three that reads its disks back, with `away` cut off. */
function started(): { group: Group; leader: Member; near: Member; away: Member } {
  const group = new Group(3, config, { recallable: true });
  group.run(300);
  const { leader } = group;
  const [near, away] = group.members.filter((member) => member !== leader) as [Member, Member];
  group.passes = (sent) => sent.from !== away.id && sent.to !== away.id;
  return { group, leader, near, away };
}

describe("eviction", () => {
  it("leaves to the disk what is decided and executed, and serves a peer that is behind from there", () => {
    const { group, leader, near, away } = started();
    const texts = Array.from({ length: 40 }, (_, i) => `value ${i}`);
    order(group, texts);
    const before = leader.protocol.inspect().logMemoryBytes;
    const { logBytes } = leader.protocol.inspect();
    execute(leader, near);
    assert.equal(leader.held, 0, "no batch is in the leader's memory");
    assert.ok(leader.protocol.inspect().logMemoryBytes <= before);
    assert.ok(leader.protocol.inspect().logBytes >= logBytes, "what is on disk alone is still part of the log");
    assert.equal(leader.trimmed, 0);

    group.passes = () => true;
    group.run(2000);
    assert.deepEqual(away.decided, leader.decided);
    assert.ok(leader.recalls + near.recalls > 0);
    assert.deepEqual(away.fetches, []);
  });

  it("keeps what has not been executed, and what is not durable here although others decided it", () => {
    const { group, leader, near } = started();
    order(group, ["one"]);
    assert.ok(leader.held > 0, "nothing is executed");
    near.diskStalled = true;
    group.passes = () => true;
    order(group, ["two", "three"]);
    near.step({ kind: "turn", now: group.now });
    execute(near);
    assert.ok(near.held > 0, "its disk has nothing of it yet");
    near.diskStalled = false;
    group.run(50);
    execute(near);
    assert.equal(near.held, 0);
  });

  it("votes again for an evicted instance that is proposed once more, and takes no second copy of it", () => {
    const { group, leader, near, away } = started();
    const accepts: Sent[] = [];
    group.passes = (sent) => {
      if (sent.to === near.id && sent.kind === "accept") accepts.push(sent);
      return sent.from !== away.id && sent.to !== away.id;
    };
    order(group, ["one", "two"]);
    execute(leader, near);
    assert.equal(near.held, 0);
    for (const accept of accepts) near.receive(accept);
    near.settle();
    assert.equal(near.held, 0);
    assert.equal(group.sent.filter((sent) => sent.from === near.id && sent.kind === "accepted").length, accepts.length);
  });

  it("what it evicted outlives the coordinator", () => {
    const { group, leader, near } = started();
    order(group, ["one", "two"]);
    execute(leader, near);
    leader.crash();
    // The third replica, which has none of it, learns it from `near` and leads, or follows it.
    group.passes = () => true;
    group.run(3000);
    order(group, ["three"]);
    const decided = group.leader.decided.filter((text) => text !== "");
    assert.deepEqual(decided, ["one", "two", "three"]);
    for (const member of group.members.filter(({ alive }) => alive)) {
      assert.deepEqual(
        member.decided.filter((text) => text !== ""),
        decided,
      );
    }
  });

  it("a value that the disk does not give back comes from another replica", () => {
    const { group, leader, near, away } = started();
    order(group, ["one", "two", "three"]);
    execute(leader, near);
    near.unreadable = true;
    group.passes = () => true;
    group.run(3000);
    assert.deepEqual(away.decided, leader.decided);
  });

  it("or, if none has it, as a state that covers it", () => {
    const { group, leader, near, away } = started();
    order(group, ["one", "two", "three"]);
    execute(leader, near);
    near.unreadable = true;
    leader.unreadable = true;
    const through = leader.protocol.inspect().decided;
    group.passes = () => true;
    group.run(1000);
    assert.deepEqual(away.fetches, [], "there is no state yet that covers it");
    leader.step({ kind: "checkpointed", now: group.now, through, digest: "" });
    group.run(1000);
    const [fetch] = away.fetches as { from: number }[];
    assert.equal(fetch?.from, leader.id);
  });

  it("a peer that asks twice while the disk is read is answered once, and one that asks for more gets it in parts", () => {
    const { group, leader, near, away } = started();
    const texts = Array.from({ length: 30 }, (_, i) => `${i}`.padStart(3, "0").repeat(9000));
    order(group, texts);
    execute(leader, near);
    leader.answersRecalls = false;
    near.answersRecalls = false;
    group.passes = () => true;
    group.run(3000);
    assert.ok(leader.recalls <= 1 && near.recalls <= 1, `${leader.recalls} and ${near.recalls} reads at once`);
    for (const member of [leader, near]) member.answerRecalls();
    group.run(3000);
    assert.deepEqual(away.decided, leader.decided);
    // 27 KB a value: a read has a quarter of a megabyte of them.
    assert.ok(leader.recalls + near.recalls > 3, `${leader.recalls + near.recalls} reads`);
  });

  it("a replica that restarts evicts what it recovered, and serves it", () => {
    const { group, leader, near, away } = started();
    order(group, ["one", "two", "three"]);
    execute(leader, near);
    near.crash();
    near.restart();
    group.run(1000);
    execute(near);
    assert.equal(near.held, 0);
    group.passes = (sent) => sent.from !== leader.id || sent.to !== away.id || sent.kind !== "chosen";
    group.run(3000);
    assert.deepEqual(away.decided, group.leader.decided);
  });
});

describe("instance log: a long part of it that is trimmed", () => {
  it("is gone at once, and its memory turn by turn", () => {
    const arena = new BatchArena(64 * 1024);
    const log = new InstanceLog(arena);
    const count = 50_000;
    for (let i = 1; i <= count; i++) log.put(i, 1, arena.empty(0));
    log.trim(count - 10);
    assert.equal(log.get(count - 10), undefined);
    assert.ok(arena.batches > 10, "what is dropped in one turn is bounded");
    assert.equal(log.evictable, 0);
    for (let turns = 0; turns < count / 1000 && log.evictable === 0; turns++) log.sweep();
    assert.equal(arena.batches, 10);
    assert.equal(log.size, 10);
    log.evict(log.evictable);
    assert.equal(arena.batches, 9);
    log.trim(count);
    assert.deepEqual([arena.batches, log.size], [0, 0]);
  });

  it("far beyond everything that is there costs no more than what is there", () => {
    const arena = new BatchArena(64 * 1024);
    const log = new InstanceLog(arena);
    log.put(3, 1, arena.empty(0));
    log.put(2 ** 40, 1, arena.empty(0));
    log.trim(2 ** 40 - 1);
    assert.deepEqual([arena.batches, log.size, log.evictable], [1, 1, 2 ** 40]);
  });
});

/** What is accounted for in one piece. */
const STEP_BYTES = 16 * 1024;

describe("instance log: what is on disk alone", () => {
  // A log of 256 KiB was full for good: what had been trimmed still counted, as long as something behind it was evicted.
  it("counts as little as is left, although the trim point never reaches its end", () => {
    const arena = new BatchArena(64 * 1024);
    const log = new InstanceLog(arena);
    for (let i = 1; i <= 5000; i++) {
      log.put(i, 1, arena.build(new Uint8Array(100), 0, 100, 0, 0, 0));
      log.evict(i);
      if (i > 8) log.trim(i - 8);
      assert.ok(log.evictedBytes <= STEP_BYTES + 8 * 200, `${log.evictedBytes} bytes at instance ${i}`);
    }
  });

  it("counts in instances and bytes until it is trimmed, and then not at all", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom("put", "evict", "trim"), fc.nat(300_000)), { maxLength: 120 }),
        (steps) => {
          const arena = new BatchArena(64 * 1024);
          const log = new InstanceLog(arena);
          const lengths = new Map<number, number>();
          let next = 1;
          for (const [step, size] of steps) {
            const lowest = log.evictable;
            if (step === "put") {
              const batch = arena.build(new Uint8Array(size), 0, size, 0, 0, 0);
              lengths.set(next, batch.end - batch.start);
              log.put(next++, 1, batch);
            } else if (step === "evict" && lowest < next) log.evict(lowest);
            else if (step === "trim" && next > 1) log.trim(Math.min(next - 1, log.trimmed + 1 + (size % 5)));

            assert.equal(log.size, next - 1 - log.trimmed);
            let evicted = 0;
            for (let i = log.trimmed + 1; i <= log.evicted; i++) {
              evicted += lengths.get(i) as number;
              assert.equal(log.get(i), undefined);
            }
            // Exact but for the step that the trim point is in.
            assert.ok(log.evictedBytes >= evicted && log.evictedBytes <= evicted + STEP_BYTES);
            if (log.evicted <= log.trimmed) assert.equal(log.evictedBytes, 0);
            for (let i = Math.max(log.trimmed, log.evicted) + 1; i < next; i++) assert.ok(log.get(i) !== undefined);
            if (log.evicted > log.trimmed) {
              const through = log.recallThrough(log.trimmed + 1, 1);
              assert.ok(through > log.trimmed && through <= log.evicted);
            }
          }
          log.trim(next - 1);
          assert.deepEqual([log.size, log.evictedBytes], [0, 0]);
        },
      ),
      { numRuns: 300 },
    );
  });
});
