import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import { type BatchArena, ConfigError } from "#src/model/index.js";
import { multiPaxos, multiPaxosConfig, type MultiPaxosMessage } from "#src/ordering/multi-paxos/index.js";
import { Group, type Member } from "./group.js";

/** A group with a coordinator elected. */
function elected(size = 3, config = {}): Group {
  const group = new Group(size, config);
  group.run(1000);
  assert.equal(group.members.filter((member) => member.protocol.inspect().role === "leader").length, 1);
  return group;
}

const values = (member: Member): string[] => member.decided.filter((value) => value !== "");

describe("Multi-Paxos, normal case (PROTOCOLS 5.1)", () => {
  it("decides batches in the order proposed, the same on every replica", () => {
    for (const size of [1, 2, 3, 5, 7]) {
      const group = elected(size);
      for (const text of ["a", "b", "c", "d"]) group.leader.propose(text);
      group.run(100);
      for (const member of group.members) assert.deepEqual(values(member), ["a", "b", "c", "d"], `size ${size}`);
    }
  });

  it("keeps many instances open and refuses beyond the window", () => {
    const group = elected(3, { windowInstancesMax: 4 });
    const leader = group.leader;
    group.passes = (sent) => sent.kind !== "accepted";
    for (let i = 0; i < 6; i++) leader.propose(String(i));
    group.deliver();
    assert.equal(leader.refused.length, 2);
    assert.equal(leader.protocol.inspect().proposable, false);
    group.passes = () => true;
    group.run(1000);
    assert.deepEqual(values(leader), ["0", "1", "2", "3"]);
    assert.equal(leader.protocol.inspect().proposable, true);
  });

  it("full logs take what other streams wait for, up to a bound, and nothing else", () => {
    for (const otherStreams of [0, 2]) {
      const group = elected(3, { logInstancesMax: 8, otherStreams });
      const { leader } = group;
      while (leader.protocol.inspect().proposable) {
        leader.propose("x");
        group.run(100);
      }
      const full = leader.protocol.inspect().decided;
      leader.propose("one too many");
      assert.equal(leader.refused.length, 1);
      let empty = 0;
      for (; leader.protocol.inspect().proposableEmpty; empty++) {
        assert.ok(empty < 100, "there is a bound");
        leader.proposeEmpty();
        group.run(100);
      }
      assert.equal(empty > 8, otherStreams > 0);
      for (const { protocol } of group.members) assert.equal(protocol.inspect().decided, full + empty);
    }
  });

  it("what is known from elsewhere to be decided is fetched from whoever is reached", () => {
    const group = elected();
    const { leader } = group;
    const [apart] = group.members.filter((member) => member !== leader) as [Member];
    const between = (from: number, to: number): boolean => from === leader.id && to === apart.id;
    group.passes = (sent) => !between(sent.from, sent.to) && !between(sent.to, sent.from);
    for (const text of ["a", "b", "c"]) leader.propose(text);
    group.run(1000);
    assert.deepEqual(values(leader), ["a", "b", "c"]);
    assert.deepEqual(values(apart), []);
    apart.step({ kind: "known", now: group.now, through: leader.protocol.inspect().decided });
    group.run(1000);
    assert.deepEqual(values(apart), ["a", "b", "c"]);
  });

  it("A5: an acceptor votes for an instance while it misses earlier ones", () => {
    const group = elected();
    const leader = group.leader;
    const [behind, other] = group.members.filter((member) => member !== leader) as [Member, Member];
    group.passes = (sent) => sent.to !== behind.id;
    for (const text of ["a", "b", "c"]) leader.propose(text);
    group.deliver();
    // Now the other follower is gone and the one that missed a, b, c is needed for d.
    group.passes = (sent) => sent.to !== other.id && sent.from !== other.id && sent.kind !== "chosen";
    leader.propose("d");
    group.deliver();
    assert.deepEqual(values(leader), ["a", "b", "c", "d"]);
    assert.deepEqual(values(behind), []);
    group.passes = () => true;
    group.run(1000);
    assert.deepEqual(values(behind), ["a", "b", "c", "d"], "catch-up closes the gap");
  });
});

describe("durability order (DESIGN safety rule 1)", () => {
  it("neither votes nor promises leave before the disk has them", () => {
    const group = elected();
    const leader = group.leader;
    const followers = group.members.filter((member) => member !== leader);
    for (const follower of followers) follower.diskStalled = true;
    leader.propose("a");
    group.deliver();
    assert.deepEqual(values(leader), []);
    leader.crash();
    group.run(3000);
    assert.equal(group.members.filter((m) => m.alive && m.protocol.inspect().role === "leader").length, 0);
    for (const follower of followers) {
      follower.diskStalled = false;
      follower.sync();
    }
    group.run(3000);
    assert.deepEqual(values(group.leader), ["a"], "both had the value when their disks came back");
  });

  it("the coordinator's own vote waits for its disk too", () => {
    const group = elected();
    const leader = group.leader;
    leader.diskStalled = true;
    const other = group.members.find((member) => member !== leader) as Member;
    group.passes = (sent) => sent.from !== other.id;
    leader.propose("a");
    group.deliver();
    assert.deepEqual(values(leader), []);
    leader.diskStalled = false;
    group.deliver();
    assert.deepEqual(values(leader), ["a"]);
  });

  it("a replica whose directory was emptied is a non-voter until it has rejoined above everything it may have voted for", () => {
    const group = elected();
    const leader = group.leader;
    for (const text of ["a", "b"]) leader.propose(text);
    group.run(100);
    const victim = group.members.find((member) => member !== leader) as Member;
    const other = group.members.find((member) => member !== leader && member !== victim) as Member;
    victim.crash();
    victim.durable = [];
    // Only one other voter answers: f + 1 = 2 are needed, so it stays a non-voter, and its vote decides nothing.
    group.passes = (sent) => sent.from !== other.id && sent.to !== other.id;
    victim.restart(77);
    group.run(400);
    assert.equal(victim.protocol.inspect().role, "recovering");
    if (leader.protocol.inspect().role === "leader") {
      leader.propose("c");
      group.deliver();
      assert.deepEqual(values(leader), ["a", "b"]);
    }
    group.passes = () => true;
    group.run(3000);
    assert.notEqual(victim.protocol.inspect().role, "recovering");
    group.leader.propose("d");
    group.run(500);
    assert.equal(values(victim).at(-1), "d");
    assert.deepEqual(values(victim), values(group.leader));
    // Its memory is whole again: a plain restart needs no rejoin.
    victim.crash();
    victim.restart(77);
    assert.notEqual(victim.protocol.inspect().role, "recovering");
  });

  it("all replicas crash and come back: everything decided is still there", () => {
    const group = elected();
    for (const text of ["a", "b", "c"]) group.leader.propose(text);
    group.deliver();
    assert.deepEqual(values(group.leader), ["a", "b", "c"]);
    for (const member of group.members) member.crash();
    for (const member of group.members) member.restart();
    group.run(2000);
    group.leader.propose("d");
    group.run(1000);
    for (const member of group.members) assert.deepEqual(values(member), ["a", "b", "c", "d"]);
  });
});

describe("leader change", () => {
  it("a value that one acceptor accepted and nobody decided survives if its acceptor is in the promise quorum", () => {
    const group = elected();
    const leader = group.leader;
    const holder = group.members.find((member) => member !== leader) as Member;
    group.passes = (sent) => sent.to === holder.id && sent.kind === "accept";
    leader.propose("a");
    group.deliver();
    leader.crash();
    group.passes = () => true;
    group.run(2000);
    assert.deepEqual(values(group.leader), ["a"]);
  });

  it("rule 10: a closed connection starts the election without waiting for the timeout", () => {
    const group = elected(3, { electionTimeoutMs: 10_000 });
    const old = group.leader;
    old.crash();
    group.run(300);
    assert.notEqual(group.leader, old);
  });

  it("pre-vote: a replica that was cut off does not unseat the coordinator when it returns", () => {
    const group = elected();
    const leader = group.leader;
    const cut = group.members.find((member) => member !== leader) as Member;
    const { ballot } = leader.protocol.inspect();
    group.passes = (sent) => sent.from !== cut.id && sent.to !== cut.id;
    group.run(5000);
    group.passes = () => true;
    group.run(5000);
    assert.equal(group.leader, leader);
    assert.equal(leader.protocol.inspect().ballot, ballot);
  });

  it("rule 2: a coordinator without a quorum steps down, and its reads are refused", () => {
    const group = elected();
    const leader = group.leader;
    group.passes = () => false;
    leader.read(1);
    group.run(700);
    assert.notEqual(leader.protocol.inspect().role, "leader");
    assert.deepEqual(leader.refused, [1]);
    assert.deepEqual(leader.readable, []);
  });

  it("handover moves leadership in one round and loses nothing", () => {
    const group = elected();
    const old = group.leader;
    old.propose("a");
    old.step({ kind: "transferLeadership", now: group.now });
    group.run(50);
    assert.notEqual(group.leader, old);
    group.leader.propose("b");
    group.run(100);
    for (const member of group.members) assert.deepEqual(values(member), ["a", "b"]);
  });
});

describe("reads (DESIGN safety rule 4)", () => {
  it("wait for every instance opened when they arrived and for a majority asked afterwards", () => {
    const group = elected();
    const leader = group.leader;
    leader.propose("a");
    leader.read(1);
    leader.settle();
    assert.deepEqual(leader.readable, []);
    group.deliver();
    assert.deepEqual(leader.readable, [{ ticket: 1, after: leader.protocol.inspect().opened }]);
  });

  it("an old coordinator that does not know of its successor answers none", () => {
    const group = elected();
    const old = group.leader;
    group.passes = (sent) => sent.from !== old.id && sent.to !== old.id;
    for (const member of group.members) {
      if (member !== old) member.step({ kind: "link", now: group.now, peer: old.id, up: false, inFlightBytes: 0 });
    }
    group.run(300);
    assert.notEqual(group.leader, old);
    old.read(1);
    group.run(100);
    assert.deepEqual(old.readable, []);
  });
});

describe("trimming and state transfer (DESIGN safety rule 2)", () => {
  function checkpointAt(group: Group, member: Member): number {
    const through = member.protocol.inspect().decided;
    member.checkpoint = through;
    member.step({ kind: "executed", now: group.now, through, speculative: false, replies: null });
    member.step({ kind: "checkpointed", now: group.now, through, digest: "" });
    return through;
  }

  it("trims through what f + 1 replicas have checkpointed, never beyond its own checkpoint", () => {
    const group = elected();
    for (let i = 0; i < 10; i++) group.leader.propose(String(i));
    group.run(200);
    const leader = group.leader;
    const [second, third] = group.members.filter((member) => member !== leader) as [Member, Member];
    const through = checkpointAt(group, leader);
    group.run(200);
    assert.equal(leader.trimmed, 0, "one checkpoint is not f + 1");
    checkpointAt(group, second);
    group.run(200);
    assert.equal(leader.trimmed, through);
    assert.equal(second.trimmed, through);
    assert.equal(third.trimmed, 0, "it has no checkpoint of its own");
  });

  it("a replica behind the trim point fetches state, then the log above it", () => {
    const group = elected();
    const leader = group.leader;
    const [second, behind] = group.members.filter((member) => member !== leader) as [Member, Member];
    group.passes = (sent) => sent.from !== behind.id && sent.to !== behind.id;
    for (let i = 0; i < 10; i++) leader.propose(String(i));
    group.run(200);
    const through = checkpointAt(group, leader);
    checkpointAt(group, second);
    group.run(200);
    assert.equal(leader.trimmed, through);
    leader.propose("x");
    group.passes = () => true;
    group.run(1000);
    assert.equal(behind.fetches.length > 0, true);
    behind.step({ kind: "installed", now: group.now, through });
    group.run(1000);
    assert.deepEqual(values(behind), ["x"]);
    assert.equal(behind.protocol.inspect().decided, leader.protocol.inspect().decided);
  });

  it("a candidate proposes nothing at or below what a member of its quorum has trimmed", () => {
    const group = elected();
    const leader = group.leader;
    const [second, behind] = group.members.filter((member) => member !== leader) as [Member, Member];
    group.passes = (sent) => sent.from !== behind.id && sent.to !== behind.id;
    for (let i = 0; i < 10; i++) leader.propose(String(i));
    group.run(200);
    checkpointAt(group, leader);
    const through = checkpointAt(group, second);
    group.run(200);
    leader.crash();
    group.passes = () => true;
    group.run(3000);
    const next = group.leader;
    next.propose("y");
    if (behind.fetches.length > 0) behind.step({ kind: "installed", now: group.now, through });
    group.run(3000);
    assert.deepEqual(values(second).slice(0, 11), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "y"]);
    assert.deepEqual(values(behind), ["y"]);
  });
});

describe("wire and log formats", () => {
  it("messages survive encoding; truncated or random bytes decode to null or a message, never throw", () => {
    const group = elected();
    const seen: { kind: MultiPaxosMessage["kind"]; body: Uint8Array }[] = [];
    group.passes = (sent) => {
      seen.push(sent);
      return true;
    };
    group.leader.propose("abc");
    group.run(300);
    assert(seen.length > 5);
    for (const { kind, body } of seen) {
      const number = multiPaxos.codec.kindOf({ kind } as MultiPaxosMessage);
      const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
      const message = multiPaxos.codec.decode(number, body, view, 0, body.length);
      assert(message !== null);
      const again = new ByteWriter();
      multiPaxos.codec.encode(message, again);
      assert.deepEqual(again.toBytes(), body);
      for (let cut = 0; cut < body.length; cut++) {
        assert.equal(multiPaxos.codec.decode(number, body, view, 0, cut), null, `${kind} cut at ${cut}`);
      }
    }
    fc.assert(
      fc.property(fc.nat(80), fc.uint8Array({ maxLength: 200 }), (kind, bytes) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        multiPaxos.codec.decode(kind, bytes, view, 0, bytes.length);
        multiPaxos.codec.decodeRecord(bytes, view, 0, bytes.length, null as unknown as BatchArena, 0);
      }),
      { numRuns: 2000 },
    );
  });

  it("configuration errors print both numbers", () => {
    assert.throws(
      () => multiPaxosConfig({ electionTimeoutMs: 100, heartbeatMs: 50 }),
      (error) => error instanceof ConfigError && error.message.includes("150") && error.message.includes("100"),
    );
  });
});
