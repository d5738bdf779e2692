/** What a disk has refused counts, whoever heard of it: the world keeps to the fault model when a process ends first. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import type { ReplicaId } from "#src/model/index.js";
import { drawScenario, SimWorld } from "#src/sim/index.js";

/** A cluster of three that has worked for a second; a replica of it that does not lead, and another one. */
function settled(seed: number): { readonly world: SimWorld; readonly id: ReplicaId; readonly other: ReplicaId } {
  const drawn = drawScenario({ seed, replicas: 3, durability: "fsync", service: "kv", connections: 0, faults: [] });
  const world = new SimWorld(drawn);
  world.start();
  world.run(1000);
  const [first, second] = world.replicas.filter(({ id }) => id !== world.leader()?.id);
  assert.ok(first !== undefined && second !== undefined);
  return { world, id: first.id, other: second.id };
}

describe("a disk that refuses something as a process ends", () => {
  test("a sync that fails while a log is closed costs the machine its power, or makes one that may forget", () => {
    const ends = { power: 0, forgetful: 0 };
    for (let seed = 1; seed <= 8; seed++) {
      const { world, id, other } = settled(seed);
      const replica = world.replica(id);
      const boot = replica.disk.bootId;
      let down = false;
      world.stop(replica, () => {
        down = true;
      });
      // Whatever the closing log has to sync is refused.
      const fail = new Prng("always a sync");
      fail.chance = () => true;
      world.failDisk(replica, fail);
      world.run(5000, () => down);
      assert.ok(down, `seed ${seed}: the replica has not ended`);
      if (replica.disk.faults.failSync !== null) continue;
      if (replica.disk.bootId !== boot) {
        ends.power++;
        assert.ok(world.mayForget(world.replica(other)), `seed ${seed}: nothing is forgotten with the power`);
        assert.equal(replica.disk.refusedSync, false);
      } else {
        ends.forgetful++;
        assert.ok(!world.mayForget(world.replica(other)), `seed ${seed}: another one may forget beside it`);
      }
    }
    assert.ok(ends.power > 0 && ends.forgetful > 0, JSON.stringify(ends));
  });

  test("a write that found no room was refused for want of room, even if there is some when it is heard of", () => {
    const { world, id } = settled(1);
    const replica = world.replica(id);
    world.fillDisk(replica, 0);
    world.run(10_000, () => replica.disk.refusedForRoom);
    assert.ok(replica.disk.refusedForRoom && replica.running);
    world.repairDisk(replica);
    // Anything but a full disk would be a violation of "no-replica-gives-up".
    world.run(11_000, () => !replica.running);
    assert.ok(!replica.running);
    assert.match(world.notes.at(-1) ?? "", /dies \(process\)/);
  });
});
