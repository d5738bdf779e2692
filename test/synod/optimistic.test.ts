/** A service of the user's under opt-PSMR: commands that say what they are likely to touch, and sometimes touch more. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { IndeterminateError, ServiceError, startCluster } from "synod";
import { stock } from "./stock.js";

const WAREHOUSES = Array.from({ length: 8 }, (_, i) => `warehouse ${i}`);
const PIECES = 4;
const ORDERS = 60;

/** What the threads of the first replica that answers have counted. */
async function counted(directory: string, metric: string): Promise<number> {
  const { replicas } = JSON.parse(readFileSync(join(directory, "cluster.json"), "utf8")) as {
    replicas: { admin: string }[];
  };
  const page = await (await fetch(`http://${replicas[1]?.admin}/metrics`)).text();
  const found = [...page.matchAll(new RegExp(`^${metric}\\{group="g_[12]"\\} (\\d+)$`, "gm"))];
  assert.equal(found.length, 2, `${metric} in ${page}`);
  return found.reduce((sum, [, count]) => sum + Number(count), 0);
}

for (const resubmit of ["replicas", "client"] as const) {
  test(`orders that need another warehouse come again, sent by the ${resubmit}, and each takes one piece`, async (t) => {
    const cluster = await startCluster({
      service: stock,
      groups: 2,
      execution: "opt-psmr",
      resubmit,
      durability: "memory",
    });
    t.after(() => cluster.stop());
    const { client } = cluster;
    await Promise.all(WAREHOUSES.map((to) => client.deliver({ to, pieces: PIECES })));

    // All at once from one warehouse: it has four pieces, the next one serves the rest, and then both are sold out.
    const [first = "", second = ""] = WAREHOUSES;
    const rush = await Promise.allSettled(
      Array.from({ length: 3 * PIECES }, (_, number) => client.order({ number, from: first, else: second })),
    );
    const served = rush.map((each) =>
      each.status === "fulfilled" ? each.value : (each.reason as ServiceError).thrown,
    );
    for (const [who, times] of [
      [first, PIECES],
      [second, PIECES],
      ["RangeError", PIECES],
    ] as const) {
      assert.equal(served.filter((each) => each === who).length, times, served.join(", "));
    }
    // One that is sold out leaves nothing, whichever way it was executed.
    const recorded = (await client.ordered({ of: first })).trim().split(" ").map(Number);
    const wanted = served.flatMap((each, number) => (each === "RangeError" ? [] : [number]));
    assert.deepEqual(
      recorded.toSorted((a, b) => a - b),
      wanted,
    );
    // Its own check sends away what would have to be taken back.
    assert.equal(await client.clear({ of: first, into: second }), 0);
    assert.equal(await client.clear({ of: WAREHOUSES[2] as string, into: first }), PIECES);

    const [replica] = cluster.replicas;
    assert.ok(replica !== undefined);
    const outcomes = Array.from({ length: ORDERS }, async (_, index) => {
      if (index === ORDERS / 2) await replica.kill();
      const [from, other] = [3 + (index % 5), 3 + ((index * 7 + 1) % 5)].map((i) => WAREHOUSES[i] as string);
      return client.order({ number: index, from: from as string, else: other as string }).then(
        () => "ok",
        (error: unknown) => {
          if (error instanceof ServiceError && error.thrown === "RangeError") return "sold out";
          assert.ok(error instanceof IndeterminateError, String(error));
          return "unknown";
        },
      );
    });
    const sold = await Promise.all(outcomes);
    const left = await Promise.all(WAREHOUSES.slice(3).map((of) => client.count({ of })));
    const gone = 5 * PIECES - left.reduce((sum, each) => sum + each, 0);
    const [ok, unknown] = ["ok", "unknown"].map((word) => sold.filter((each) => each === word).length) as [
      number,
      number,
    ];
    assert.ok(
      gone >= ok && gone <= ok + unknown,
      `${gone} pieces are gone, ${ok} orders took one, perhaps ${unknown} more`,
    );
    const failed = await counted(cluster.directory, "synod_optimistic_failed_total");
    const passed = await counted(cluster.directory, "synod_optimistic_passed_total");
    assert.ok(failed > 0 && passed > 0, `${failed} failed, ${passed} passed`);
    assert.ok((await counted(cluster.directory, "synod_conservative_total")) > 0);
    await replica.start();
  });
}
