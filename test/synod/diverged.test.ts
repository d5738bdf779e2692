/** A replica whose service differs stops and says which commands did it; the others know, and go on. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createCluster } from "#src/runtime/index.js";
import { connect } from "synod";
import { finished, synod, type SynodProcess, temporaryDirectory } from "../cli/synod-process.js";
import { leaky } from "./leaky.js";

const module = fileURLToPath(new URL("./leaky.js", import.meta.url));
/** An engine's flag that a command can see. */
const ODD = { NODE_OPTIONS: "--stack-trace-limit=7" };

type Standing = { readonly id: number; readonly role: string; readonly differing?: readonly number[] };

/** The fields of the first line of a replica's log with this event; waits for it. */
async function logged(replica: SynodProcess, event: string): Promise<Readonly<Record<string, unknown>>> {
  for (;;) {
    for (const line of replica.stderr.split("\n")) {
      if (!line.startsWith("{")) continue;
      const parsed = JSON.parse(line) as Record<string, unknown>;
      if (parsed["msg"] === event || parsed["event"] === event) return parsed;
    }
    assert.ok(!replica.ended || replica.stderr.includes(event), `no "${event}" in ${replica.stderr}`);
    await new Promise((resolve) => replica.child.stderr.once("data", resolve));
  }
}

describe("a service that differs between replicas", () => {
  for (const odd of [1, 3]) {
    test(`replica ${odd} of 3 differs: it stops with exit 7, and the others say so and go on`, async (t) => {
      const data = temporaryDirectory(t);
      const config = await createCluster(data, { service: module, durability: "memory", port: 0 });
      const replicas = config.replicas.map(({ id }) =>
        synod(t, ["replica", String(id), "--data", data, "--json"], id === odd ? ODD : {}),
      );
      await Promise.all(replicas.map((replica) => replica.line((line) => line["event"] === "ready")));
      const client = await connect({ addresses: config.replicas.map(({ client }) => client), service: leaky });
      t.after(() => client.close());
      for (let i = 0; i < 50; i++) await client.put({ key: `k${i % 7}`, value: i });
      await client.leak({ key: "culprit" });
      const wrong = replicas[odd - 1] as SynodProcess;
      assert.equal(await wrong.exit(), 7, wrong.stderr);
      const said = await logged(wrong, "diverged");
      const [equal, differ] = [Number(said["commandsEqual"]), Number(said["commandsDiffer"])];
      // Every replica's first write and the 50 above come before it, and nothing was sent behind it.
      assert.ok(equal < 51 + 3 && differ >= 51 && differ <= 51 + 3, JSON.stringify(said));
      const others = replicas.filter((replica) => replica !== wrong);
      for (const replica of others) assert.deepEqual((await logged(replica, "replica-diverged"))["replicas"], [odd]);
      await client.put({ key: "on", value: 1 });
      const { lines } = await finished(t, ["status", "--data", data, "--json"]);
      const standings = lines[0]?.["replicas"] as readonly Standing[];
      assert.deepEqual(
        standings.map(({ role, differing }) => (role === "down" ? "down" : differing)),
        config.replicas.map(({ id }) => (id === odd ? "down" : [odd])),
      );
      // Its memory was all it had, so it comes back with the state of the others, and now its service is theirs.
      synod(t, ["replica", String(odd), "--data", data, "--json"]);
      for (const replica of others) await logged(replica, "states-equal");
    });
  }

  test("without a majority all say so, and none stops", async (t) => {
    const data = temporaryDirectory(t);
    const config = await createCluster(data, { service: module, durability: "memory", replicas: 2, port: 0 });
    const replicas = config.replicas.map(({ id }) =>
      synod(t, ["replica", String(id), "--data", data, "--json"], id === 2 ? ODD : {}),
    );
    await Promise.all(replicas.map((replica) => replica.line((line) => line["event"] === "ready")));
    const client = await connect({ addresses: config.replicas.map(({ client }) => client), service: leaky });
    t.after(() => client.close());
    await client.leak({ key: "culprit" });
    assert.deepEqual((await logged(replicas[0] as SynodProcess, "states-differ"))["replicas"], [2]);
    assert.deepEqual((await logged(replicas[1] as SynodProcess, "states-differ"))["replicas"], [1]);
    await client.put({ key: "on", value: 1 });
    assert.ok(replicas.every((replica) => !replica.ended));
  });
});
