/** A service of the user's in a cluster with groups: its tables in partitions that the threads of each replica share. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, DeterminismError, IndeterminateError, ServiceError, startCluster, UndeclaredKeyError } from "synod";
import { bank } from "./bank.js";

test("a service of the user's runs on several groups, over which money moves and none is lost", async (t) => {
  const cluster = await startCluster({ service: bank, replicas: 3, groups: 2, durability: "memory" });
  t.after(() => cluster.stop());
  const { client } = cluster;
  const names = Array.from({ length: 8 }, (_, i) => `account ${i}`);
  assert.deepEqual(
    await Promise.all(names.map((to) => client.deposit({ to, amount: 10 }))),
    names.map(() => 10),
  );
  const [ana = "", ...others] = names;
  // Some of the others are of ana's group and some are not.
  for (const to of others) await client.transfer({ from: ana, to, amount: 1 });
  await assert.rejects(client.transfer({ from: ana, to: names[5] as string, amount: 99 }), (error) => {
    assert.ok(error instanceof ServiceError && error.thrown === "RangeError", String(error));
    return true;
  });
  assert.deepEqual(await Promise.all(names.map((of) => client.balance({ of }))), [3, ...others.map(() => 11)]);
  await assert.rejects(client.peek(), UndeclaredKeyError);
  await assert.rejects(client.clock(), DeterminismError);
  assert.equal(await client.total(), 80);

  const [replica] = cluster.replicas;
  assert.ok(replica !== undefined);
  await replica.kill();
  let moved = 0;
  for (const to of others) {
    await client.transfer({ from: to, to: ana, amount: 2 }).then(
      () => moved++,
      (error: unknown) => assert.ok(error instanceof IndeterminateError, String(error)),
    );
  }
  await replica.start();
  assert.equal(await client.total(), 80);
  assert.ok(moved > 0);
  const other = await connect({ addresses: cluster.addresses.slice(0, 1), service: bank });
  const balances = await Promise.all(names.map((of) => other.balance({ of })));
  assert.equal(
    balances.reduce((sum, balance) => sum + balance, 0),
    80,
  );
  await other.close();
});
