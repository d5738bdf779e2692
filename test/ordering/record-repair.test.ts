/** A replica whose log has damaged records of values: what it may still say, and how it gets them back (decision 0007). */
import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import { Group, type Member } from "./group.js";

/** A group with a coordinator elected, the coordinator first. */
function elected(size: number): { group: Group; members: Member[] } {
  const group = new Group(size);
  group.run(1000);
  const { leader } = group;
  return { group, members: [leader, ...group.members.filter((member) => member !== leader)] };
}

const values = (member: Member): string[] => member.decided.filter((value) => value !== "");

/** The instance of a record that accepts a value, 0 for any other: `message.ts` says how they are written. */
function acceptedAt(record: Uint8Array | number): number {
  if (typeof record === "number" || record[0] !== 2) return 0;
  return new DataView(record.buffer, record.byteOffset).getFloat64(1, true);
}

/** Damages the records of these instances, from the `skip`-th on of each; as the log would, tells of the highest one so far. */
function damage(member: Member, which: (instance: number) => boolean, skip = 0): number {
  const seen = new Map<number, number>();
  let reach = 0;
  let damaged = 0;
  const left: (Uint8Array | number)[] = [];
  for (const record of member.durable) {
    const instance = acceptedAt(record);
    reach = Math.max(reach, instance);
    const count = seen.get(instance) ?? 0;
    seen.set(instance, count + 1);
    if (instance === 0 || !which(instance) || count < skip) {
      left.push(record);
      continue;
    }
    damaged++;
    if (typeof left.at(-1) === "number") left.pop();
    left.push(reach);
  }
  member.durable = left;
  assert(damaged > 0, "there was a record to damage");
  return reach;
}

describe("damaged records of a voter (DESIGN safety rule 1)", () => {
  it("come back from a peer, and the replica promises again without having rejoined", () => {
    const { group, members } = elected(3);
    const [leader, second] = members as [Member, Member];
    for (const text of ["a", "b", "c", "d"]) {
      leader.propose(text);
      group.run(100);
    }
    second.crash();
    damage(second, (instance) => instance === 3);
    group.passes = (sent) => sent.from !== second.id && sent.to !== second.id;
    second.restart();
    group.run(300);
    assert.equal(second.protocol.inspect().decided, 1, "what stands behind the hole waits");
    assert.equal(second.protocol.inspect().role, "recovering", "and the replica says so");
    group.passes = (sent) => sent.kind !== "rejoinRequest";
    group.run(3000);
    assert.deepEqual(values(second), values(leader));
    assert.notEqual(second.protocol.inspect().role, "recovering");
  });

  it("an earlier value is not taken for the decided one that was lost", () => {
    const { group, members } = elected(3);
    const [first, second, third] = members as [Member, Member, Member];
    const instance = first.protocol.inspect().opened + 1;
    // Only the second gets "x", and its vote goes nowhere; the coordinator dies before its own disk has it.
    first.diskStalled = true;
    group.passes = (sent) => sent.to !== third.id && sent.from !== second.id;
    first.propose("x");
    group.deliver();
    first.crash();
    assert.deepEqual(second.durable.map(acceptedAt).filter((each) => each === instance).length, 1);
    // The other two decide something else there, and the second accepts it.
    group.passes = (sent) => sent.from !== second.id && sent.to !== second.id;
    first.diskStalled = false;
    first.restart();
    group.run(3000);
    group.leader.propose("y");
    group.run(200);
    group.passes = () => true;
    group.run(3000);
    group.leader.propose("z");
    group.run(500);
    assert.deepEqual(values(second), ["y", "z"]);
    second.prologue();

    second.crash();
    damage(second, (each) => each === instance, 1);
    group.passes = (sent) => sent.from !== second.id && sent.to !== second.id;
    second.restart();
    group.run(300);
    assert.deepEqual(values(second), [], "it knows that the instance is decided, and no longer as what");
    group.passes = () => true;
    group.run(3000);
    assert.deepEqual(values(second), ["y", "z"]);
  });

  it("no vote that may be forgotten is given again, and none above is missed", () => {
    const { group, members } = elected(3);
    const [leader, second, third] = members as [Member, Member, Member];
    leader.propose("a");
    group.run(200);
    group.passes = (sent) => sent.from !== third.id && sent.to !== third.id;
    second.crash();
    // What was lost may have been of two instances more than are open.
    const through = leader.protocol.inspect().opened + 2;
    second.durable.push(through);
    second.restart();
    group.passes = (sent) => sent.from !== third.id && sent.to !== third.id && sent.kind !== "catchUp";
    group.run(100);
    for (const text of ["b", "c", "d"]) leader.propose(text);
    group.run(100);
    assert.deepEqual(values(leader), ["a"], "the votes for what may be lost do not count");
    group.passes = (sent) => sent.kind !== "catchUp" || sent.to !== second.id;
    group.run(3000);
    assert.deepEqual(values(group.leader), ["a", "b", "c", "d"]);
    // Now everything that was in doubt is decided: with the third gone the second is a member of every quorum.
    assert.notEqual(second.protocol.inspect().role, "recovering");
    third.crash();
    group.run(1000);
    group.leader.propose("e");
    group.run(1000);
    assert.equal(values(group.leader).at(-1), "e");
  });

  it("what was fetched again is durable before the replica promises: it may be the only copy that is left but one", () => {
    const { group, members } = elected(3);
    const [leader, second] = members as [Member, Member];
    for (const text of ["a", "b", "c"]) {
      leader.propose(text);
      group.run(100);
    }
    second.crash();
    damage(second, (instance) => instance === 2);
    second.diskStalled = true;
    second.restart();
    group.run(2000);
    assert.deepEqual(values(second), ["a", "b", "c"]);
    assert.equal(second.protocol.inspect().role, "recovering");
    second.diskStalled = false;
    group.run(200);
    assert.notEqual(second.protocol.inspect().role, "recovering");
  });

  it("in an idle group what is awaited gets decided", () => {
    const { group, members } = elected(3);
    const [leader, second] = members as [Member, Member];
    leader.propose("a");
    group.run(200);
    second.crash();
    second.durable.push(leader.protocol.inspect().opened + 3);
    second.restart();
    assert.equal(second.protocol.inspect().role, "recovering");
    group.run(10_000);
    assert.notEqual(second.protocol.inspect().role, "recovering");
    assert.deepEqual(values(second), ["a"]);
  });

  it("what may be forgotten outlives the segment that lacks it, and is told to a replica that rejoins", () => {
    const { group, members } = elected(5);
    const [leader, second, third] = members as [Member, Member, Member];
    leader.propose("a");
    group.run(200);
    const through = leader.protocol.inspect().opened + 3;
    group.passes = (sent) => sent.from !== second.id && sent.to !== second.id;
    second.crash();
    second.durable.push(through);
    second.restart();
    second.prologue();
    // The damaged segment is gone; the head of the next one carries on what it was about.
    second.crash();
    second.durable = second.durable.filter((record) => typeof record !== "number");
    second.restart();
    group.run(100);
    assert.equal(second.protocol.inspect().role, "recovering");

    third.crash();
    third.durable = [];
    const floors: number[] = [];
    group.passes = (sent) => {
      if (sent.kind === "rejoinReply" && sent.from === second.id) {
        floors.push(new DataView(sent.body.buffer, sent.body.byteOffset).getFloat64(16, true));
      }
      return sent.kind !== "catchUp" || sent.from !== second.id;
    };
    third.restart(9);
    group.run(100);
    assert(floors.length > 0 && floors.every((floor) => floor >= through), floors.join());
    group.passes = () => true;
    group.run(10_000);
    for (const member of members) assert.notEqual(member.protocol.inspect().role, "recovering");
  });
});
