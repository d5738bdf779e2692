/** A cluster with groups made as on several machines: every port of every member is encrypted and asks who comes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect as connectPlain } from "node:net";
import { describe, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { AuthenticationError } from "#src/model/index.js";
import { connect } from "#src/runtime/index.js";
import { noOpenssl } from "../platform/certificates.js";
import { Machines } from "./machines.js";

/** What a stranger reads from a port to which it has said something without TLS, until the port closes. */
function spoken(address: string): Promise<string> {
  const [host, port] = address.split(":") as [string, string];
  return new Promise((resolve) => {
    let text = "";
    const socket = connectPlain({ host, port: Number(port) }, () => socket.end("PING\r\n".repeat(100)));
    socket.on("data", (bytes) => (text += bytes.toString("latin1")));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
  });
}

describe("a protected cluster with groups", { skip: noOpenssl }, () => {
  test("serves Redis and native clients over TLS, keeps strangers from every member, and survives a kill", async (context) => {
    const machines = await Machines.make(context, ["--groups", "2", "--execution", "opt-psmr"]);
    const replicas = await machines.startAll();
    const { config } = machines;
    const ca = readFileSync(machines.ca, "utf8");
    const addresses = config.replicas.map(({ client }) => client);
    const keys = Array.from({ length: 40 }, (_, i) => `key ${i}`);

    await context.test("a pipeline over both groups through each gateway", async () => {
      for (const id of [1, 2, 3]) {
        const redis = machines.redis(id, { password: "right" });
        const pipeline = redis.pipeline();
        for (const key of keys) pipeline.set(key, `of ${id}`).get(key);
        const replies = await pipeline.mget(keys).exec();
        const wanted = [...keys.flatMap(() => ["OK", `of ${id}`]), keys.map(() => `of ${id}`)];
        assert.deepEqual(
          replies,
          wanted.map((reply) => [null, reply]),
        );
        redis.disconnect();
      }
    });

    await context.test("native clients by password and by certificate, through each group", async () => {
      for (const access of [{ tls: { ca }, password: "right" }, { tls: { ca, ...machines.certificate("client") } }]) {
        const client = await connect({ addresses: addresses.slice(0, 1), ...access });
        const values = await Promise.all(keys.map((key) => client.get(key)));
        assert.deepEqual(
          values,
          keys.map(() => "of 3"),
        );
        await client.close();
      }
      await assert.rejects(connect({ addresses, tls: { ca }, password: "wrong" }), AuthenticationError);
    });

    await context.test(
      "no port of any member speaks to who has no TLS, or to peers without a certificate",
      async () => {
        for (const { peer, client, members = [] } of config.replicas) {
          const all = [{ peer, client }, ...members];
          assert.equal(all.length, 3);
          for (const member of all) {
            for (const address of [member.peer, member.client]) {
              // A TLS alert is binary and short; nothing of the protocol's own greeting is told.
              assert.doesNotMatch(await spoken(address), /PONG|synod|SYNOD/i);
            }
            const [host, port] = member.peer.split(":") as [string, string];
            const socket = connectTls({ host, port: Number(port), ca });
            await new Promise<void>((resolve) => {
              socket.on("error", () => undefined);
              socket.on("close", () => resolve());
              socket.on("data", (bytes) => assert.fail(`a peer without a certificate reads ${bytes.length} bytes`));
            });
          }
        }
      },
    );

    await context.test("status, from the directory and from afar", async () => {
      assert.match(await machines.succeed(["status", "--data", machines.data(2)]), /digests equal on 3\/3/);
      const afar = ["status", "--address", addresses[1] as string, "--tls-ca", machines.ca];
      assert.match(await machines.succeed(afar, { SYNOD_PASSWORD: "right" }), /digests equal on 3\/3/);
    });

    await context.test("a killed replica's members are led elsewhere over TLS, and it comes back", async () => {
      const client = await connect({ addresses, tls: { ca }, password: "right" });
      replicas[0]?.kill("SIGKILL");
      await replicas[0]?.exit();
      for (const key of keys) assert.equal(await client.set(key, "after"), true);
      await client.close();
      const again = machines.start(1);
      await again.ready();
      const redis = machines.redis(1, { password: "right" });
      assert.deepEqual(
        await redis.mget(keys),
        keys.map(() => "after"),
      );
      redis.disconnect();
    });
  });
});
