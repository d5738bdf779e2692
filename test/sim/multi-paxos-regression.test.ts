/** What the simulator found in Multi-Paxos, told in a few messages each over the bare cores. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { Group, type Member } from "../ordering/group.js";

function elected(size = 3, config = {}): Group {
  const group = new Group(size, config);
  group.run(1000);
  return group;
}

const values = (member: Member): string[] => member.decided.filter((value) => value !== "");
const others = (group: Group): [Member, Member] =>
  group.members.filter((member) => member !== group.leader) as [Member, Member];

describe("found by the simulator", () => {
  test("a value is decided, the one that delivered it is gone, and of those left one has it and the other knows", () => {
    const group = elected();
    const leader = group.leader;
    const [holder, knower] = others(group);
    // The accept reaches one follower alone; the news of the decision reaches the other alone.
    group.passes = ({ kind, to }) => kind !== "chosen" && kind !== (to === holder.id ? "heartbeat" : "accept");
    leader.propose("a");
    group.run(60);
    assert.deepEqual([values(leader), values(holder), values(knower)], [["a"], [], []]);
    leader.crash();
    group.passes = () => true;
    group.run(3000);
    assert.deepEqual([values(holder), values(knower)], [["a"], ["a"]]);
    group.leader.propose("b");
    group.run(200);
    assert.deepEqual(
      [values(holder), values(knower)],
      [
        ["a", "b"],
        ["a", "b"],
      ],
    );
  });

  test("a replica that misses values and has nobody to ask sleeps until somebody is there", () => {
    const group = elected();
    const [behind] = others(group);
    group.passes = ({ to, kind }) => to !== behind.id || kind === "heartbeat";
    group.leader.propose("a");
    group.run(60);
    assert.deepEqual(values(behind), []);
    for (const peer of group.ids) {
      if (peer === behind.id) continue;
      behind.step({ kind: "link", now: group.now, peer, up: false, inFlightBytes: 0 });
    }
    behind.step({ kind: "turn", now: group.now });
    for (let i = 0; i < 50; i++) {
      assert.ok(behind.wake > group.now, `woken ${i} times at ${group.now}`);
      group.now = behind.wake;
      behind.step({ kind: "tick", now: group.now });
      behind.step({ kind: "turn", now: group.now });
      if (group.now > 5000) break;
    }
    assert.ok(group.now > 2000, "time goes on");
  });

  test("catch-up over a network that doubles everything asks no more often than it gets answers", () => {
    const group = elected(3, { catchUpBytes: 100 });
    const leader = group.leader;
    const [behind] = others(group);
    group.passes = ({ to, kind }) => to !== behind.id || kind === "heartbeat" || kind === "catchUpRefuse";
    for (let i = 0; i < 40; i++) {
      leader.propose(String(i));
      group.run(5);
    }
    let asked = 0;
    group.passes = (sent) => {
      if (sent.from === behind.id && sent.kind === "catchUp") asked++;
      if (sent.kind === "chosen" || sent.kind === "catchUpRefuse") group.member(sent.to).receive(sent);
      return true;
    };
    group.run(2000);
    assert.equal(values(behind).length, 40);
    // One value an answer, each answered twice; a request may be repeated after a timeout.
    assert.ok(asked <= 60, `${asked} requests for 40 values`);
  });

  test("values that fill the logs of those left are decided under the next coordinator", () => {
    const group = elected(3, { logInstancesMax: 20 });
    const leader = group.leader;
    // Followers accept what the leader proposes, and it hears of none of it.
    group.passes = ({ kind }) => kind !== "accepted";
    for (let i = 0; i < 40; i++) {
      leader.propose(String(i));
      group.run(5);
    }
    const left = others(group);
    assert.deepEqual(left.map(values), [[], []]);
    leader.crash();
    group.passes = () => true;
    group.run(3000);
    for (const member of left) assert.ok(values(member).length >= 15, `${values(member).length} decided`);
  });

  test("a follower whose log is full of what stands above its gap closes the gap all the same", () => {
    const group = elected(3, { logInstancesMax: 20 });
    const leader = group.leader;
    const [behind] = others(group);
    group.passes = ({ to, kind }) => to !== behind.id || (kind !== "chosen" && kind !== "accept");
    leader.propose("first");
    group.run(10);
    group.passes = ({ to, kind }) => to !== behind.id || kind !== "chosen";
    for (let i = 0; i < 15; i++) {
      leader.propose(String(i));
      group.run(5);
    }
    assert.deepEqual(values(behind), []);
    group.passes = () => true;
    group.run(2000);
    assert.equal(values(behind)[0], "first");
  });
});
