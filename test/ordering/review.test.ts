/** Schedules found by review, each of which once lost a command or left a replica behind for ever. */
import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import { Group, type Member, type Sent } from "./group.js";

/** A group with a coordinator elected, the coordinator first. */
function elected(size: number): { group: Group; members: Member[] } {
  const group = new Group(size);
  group.run(1000);
  const { leader } = group;
  return { group, members: [leader, ...group.members.filter((member) => member !== leader)] };
}

const values = (member: Member): string[] => member.decided.filter((value) => value !== "");

function checkpoint(group: Group, member: Member): number {
  const through = member.protocol.inspect().decided;
  member.checkpoint = through;
  member.step({ kind: "executed", now: group.now, through, speculative: false, replies: null });
  member.step({ kind: "checkpointed", now: group.now, through, digest: "" });
  return through;
}

describe("schedules found by review", () => {
  it("a coordinator that learns another value than it proposes falls silent before its prefix passes it", () => {
    const { group, members } = elected(7);
    const [old, second, witness, ...rest] = members as [Member, Member, Member, ...Member[]];
    const away = new Set(rest.map((member) => member.id));
    // Everybody but the second learns "a"; then "v" reaches the second alone, and the coordinator dies.
    group.passes = (sent) => !(sent.to === second.id && (sent.kind === "accept" || sent.kind === "chosen"));
    old.propose("a");
    group.run(20);
    group.passes = (sent) => sent.from === old.id && sent.to === second.id && sent.kind === "accept";
    old.propose("v");
    group.deliver();
    old.crash();
    // The second is elected by the witness and two others, and proposes "v" again, which reaches the witness alone.
    group.passes = (sent) => {
      if (sent.kind === "preVote") return sent.from === second.id;
      if (sent.kind === "prepare") return sent.to === witness.id || sent.to === rest[0]?.id || sent.to === rest[1]?.id;
      if (sent.kind === "accept") return sent.to === witness.id;
      return sent.kind !== "catchUp";
    };
    group.run(60);
    assert.equal(second.protocol.inspect().role, "leader");
    // The others lose their connection to it, elect one of their own and decide its no-op instead.
    const among = (sent: Sent): boolean => away.has(sent.from) && away.has(sent.to);
    const pair = (sent: Sent): boolean => !away.has(sent.from) && !away.has(sent.to);
    group.passes = (sent) => among(sent) || pair(sent);
    for (const member of rest) {
      member.step({ kind: "link", now: group.now, peer: second.id, up: false, inFlightBytes: 0 });
    }
    group.run(100);
    const next = group.leader;
    assert(away.has(next.id));
    assert.equal(next.protocol.inspect().decided, next.protocol.inspect().opened);
    assert.equal(second.protocol.inspect().role, "leader");
    // All that the second hears of them is what it asks for: the values that it missed.
    let learnt = false;
    group.passes = (sent) => {
      if (sent.kind === "catchUp") return sent.from === second.id && away.has(sent.to);
      learnt ||= sent.kind === "chosen" && sent.to === second.id;
      return among(sent) || pair(sent) || sent.kind === "chosen";
    };
    for (let i = 0; i < 30 && !learnt; i++) group.run(10);
    group.run(100);
    assert(learnt);
    assert.equal(values(witness).includes("v"), false, "the witness must not take what it holds for the decided value");
    group.passes = () => true;
    group.run(3000);
    group.leader.propose("w");
    group.run(3000);
    for (const member of [second, witness, ...rest]) assert.deepEqual(values(member), ["a", "w"]);
  });

  it("a replica whose log was trimmed and whose newest checkpoint is lost makes no promise", () => {
    const { group, members } = elected(3);
    const [leader, second, behind] = members as [Member, Member, Member];
    group.passes = (sent) => sent.to !== behind.id && sent.from !== behind.id;
    for (const text of ["a", "b", "c"]) leader.propose(text);
    group.run(100);
    checkpoint(group, leader);
    const through = checkpoint(group, second);
    group.run(200);
    assert.equal(second.trimmed, through);
    // The segments that held "a", "b" and "c" are dropped, their checkpoint is damaged, and only the other replica that
    // has them is not to be reached.
    leader.crash();
    second.crash();
    second.durable = second.durable.filter((record) => typeof record === "number" || record[0] !== 2);
    second.checkpoint = 0;
    second.restart();
    assert.equal(second.protocol.inspect().role, "recovering", "and says so");
    group.passes = () => true;
    group.run(5000);
    assert.equal(second.protocol.inspect().role === "leader" || behind.protocol.inspect().role === "leader", false);
    leader.restart();
    group.run(5000);
    assert(group.leader.protocol.inspect().opened > through, "what is new comes above what was trimmed");
    assert.equal(behind.fetches.length > 0 && second.fetches.length > 0, true, "and what is below comes as a state");
  });

  it("a replica that rejoins learns again which others have rejoined before", () => {
    const { group, members } = elected(5);
    const [leader, second, third] = members as [Member, Member, Member];
    leader.propose("a");
    group.run(100);
    for (const [member, nonce] of [
      [second, 7],
      [third, 8],
    ] as const) {
      member.crash();
      member.durable = [];
      member.restart(nonce);
      group.run(3000);
      assert.notEqual(member.protocol.inspect().role, "recovering");
    }
    const known = third.protocol.prologue().flatMap((record) => (record.kind === "incarnation" ? [record] : []));
    const ofSecond = known.find((record) => record.replica === second.id);
    assert.equal(ofSecond?.incarnation, 2, "its votes must not be counted beside one of the second's earlier life");
  });

  it("after a state was installed, the log above it is asked of the peer that kept it", () => {
    const { group, members } = elected(5);
    const [leader, behind, ...others] = members as [Member, Member, ...Member[]];
    group.passes = (sent) => sent.to !== behind.id && sent.from !== behind.id;
    for (let i = 0; i < 5; i++) leader.propose(String(i));
    group.run(100);
    for (const member of [leader, ...others]) checkpoint(group, member);
    group.run(200);
    group.passes = () => true;
    group.run(300);
    const fetch = behind.fetches.at(-1);
    assert(fetch !== undefined);
    const server = group.member(fetch.from);
    const through = server.checkpoint;
    // While it fetches, all others go on, take checkpoints and trim, and it misses what they accept.
    group.passes = (sent) => !(sent.to === behind.id && sent.kind === "accept");
    for (let i = 5; i < 10; i++) leader.propose(String(i));
    group.run(100);
    for (const member of [leader, ...others]) if (member !== server) checkpoint(group, member);
    group.run(300);
    const fetches = behind.fetches.length;
    behind.step({ kind: "installed", now: group.now, through });
    group.run(300);
    assert.equal(behind.fetches.length, fetches, "the server still holds what is above its checkpoint");
    assert.deepEqual(values(behind), ["5", "6", "7", "8", "9"]);
  });

  it("agreed time goes on from where it was under a coordinator whose wall clock is behind", () => {
    const { group, members } = elected(3);
    const [leader] = members as [Member];
    group.run(10_000);
    leader.propose("a");
    group.run(100);
    const before = group.now;
    leader.crash();
    // All members of this harness start with a wall clock of 1000 ms, and a restart reads it anew: it is far behind then.
    for (const member of members.slice(1)) {
      member.crash();
      member.restart();
    }
    group.run(1000);
    const times: number[] = [];
    group.passes = (sent) => {
      if (sent.kind === "accept")
        times.push(new DataView(sent.body.buffer, sent.body.byteOffset).getFloat64(40 + 16, true));
      return true;
    };
    group.leader.propose("b");
    group.run(100);
    assert(times.length > 0 && Math.min(...times) > before, `${String(times)} after ${before}`);
  });
});
