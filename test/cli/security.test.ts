/** A cluster made as on several machines: TLS, passwords, replacing a disk, exchange of certificates, refusals. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { AuthenticationError, ConfigError } from "#src/model/index.js";
import { connect } from "#src/runtime/index.js";
import { noOpenssl } from "../platform/certificates.js";
import { Machines, runSynod } from "./machines.js";
import type { SynodProcess } from "./synod-process.js";

/** Sends bytes over a TLS connection and returns all that comes until it closes, or until so many bytes. */
async function exchange(machines: Machines, bytes: string, untilBytes: number): Promise<string> {
  const [host, port] = machines.config.replicas[0]!.resp.split(":") as [string, string];
  const socket = connectTls({ host, port: Number(port), ca: readFileSync(machines.ca) });
  socket.write(bytes);
  let text = "";
  for await (const chunk of socket) {
    text += (chunk as Buffer).toString();
    if (text.length >= untilBytes) break;
  }
  return text;
}

/** Until the log on stderr has this so many times. Nothing else tells that the process has read files anew. */
async function untilLogged(replica: SynodProcess, text: string, times = 1): Promise<void> {
  while (replica.stderr.split(text).length <= times) {
    assert.ok(!replica.ended, replica.stderr);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("a protected cluster", { skip: noOpenssl }, () => {
  test("lets in who has a password or a certificate, and nobody else; survives a kill and the loss of a disk", async (context) => {
    const machines = await Machines.make(context);
    const replicas = await machines.startAll();
    const addresses = machines.config.replicas.map((replica) => replica.client);
    const ca = readFileSync(machines.ca, "utf8");

    await context.test("ioredis with the password", async () => {
      const redis = machines.redis(1, { password: "right" });
      assert.equal(await redis.set("a", "1"), "OK");
      redis.disconnect();
    });
    await context.test("ioredis with user and password", async () => {
      const redis = machines.redis(2, { username: "default", password: "right" });
      assert.equal(await redis.get("a"), "1");
      redis.disconnect();
    });
    await context.test("ioredis with a certificate", async () => {
      const redis = machines.redis(3, { cert: "client" });
      assert.equal(await redis.get("a"), "1");
      redis.disconnect();
    });
    for (const [what, login, refusal] of [
      ["without anything", {}, /NOAUTH/],
      ["with a wrong password", { password: "wrong" }, /NOAUTH|WRONGPASS/],
      ["with a wrong user", { username: "ana", password: "right" }, /NOAUTH|WRONGPASS/],
    ] as const) {
      await context.test(`ioredis ${what}`, async () => {
        const redis = machines.redis(1, login);
        await assert.rejects(redis.set("a", "2"), refusal);
        redis.disconnect();
      });
    }

    await context.test("each command before and after AUTH, over the bare protocol", async () => {
      const before = "-NOAUTH Authentication required.\r\n";
      const wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
      const words = "SET a 9\r\nGET a\r\nINFO\r\nCLIENT LIST\r\nCOMMAND\r\nPING\r\nAUTH wrong\r\nGET a\r\n";
      const all = `${words}AUTH default right\r\nGET a\r\nRESET\r\nGET a\r\nAUTH right\r\nGET a\r\nAUTH wrong\r\nGET a\r\nQUIT\r\n`;
      const value = "$1\r\n1\r\n";
      assert.equal(
        await exchange(machines, all, Infinity),
        `${before.repeat(6)}${wrong}${before}+OK\r\n${value}+RESET\r\n${before}+OK\r\n${value}${wrong}${value}+OK\r\n`,
      );
    });

    await context.test("HELLO with and without AUTH", async () => {
      const without = await exchange(machines, "HELLO 3\r\nQUIT\r\n", Infinity);
      assert.match(without, /^-NOAUTH HELLO must be called/);
      const wrong = await exchange(machines, "HELLO 3 AUTH default wrong\r\nGET a\r\nQUIT\r\n", Infinity);
      assert.match(wrong, /^-WRONGPASS .*\r\n-NOAUTH/);
      const right = await exchange(machines, "HELLO 3 AUTH default right SETNAME me\r\nGET a\r\nQUIT\r\n", Infinity);
      assert.match(right, /^%7\r\n[\s\S]*\$1\r\n1\r\n\+OK\r\n$/);
    });

    await context.test("commands sent behind AUTH at once are executed in their order", async () => {
      const many = "INCR n\r\n".repeat(1000);
      const replies = await exchange(machines, `AUTH right\r\n${many}DEL n\r\nQUIT\r\n`, Infinity);
      const numbers = Array.from({ length: 1000 }, (_, i) => `:${i + 1}\r\n`).join("");
      assert.equal(replies, `+OK\r\n${numbers}:1\r\n+OK\r\n`);
    });

    await context.test("an unauthenticated request that is too long ends its connection", async () => {
      const head = `*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n`;
      assert.equal(await exchange(machines, head + "x".repeat(50_000), Infinity).catch(() => ""), "");
    });

    await context.test("a plain connection gets no answer of the store", async () => {
      const { resp } = machines.config.replicas[0]!;
      const cli = spawnSync("redis-cli", ["-p", resp.split(":")[1]!, "set", "a", "2"], { encoding: "utf8" });
      if (cli.error === undefined) assert.doesNotMatch(cli.stdout, /OK/);
    });

    await context.test(
      "redis-cli --tls",
      { skip: spawnSync("redis-cli", ["-v"]).error === undefined ? false : "redis-cli is not installed" },
      () => {
        const [, port] = machines.config.replicas[0]!.resp.split(":") as [string, string];
        const base = ["--tls", "--cacert", machines.ca, "-p", port];
        const env = { ...process.env, REDISCLI_AUTH: "right" };
        assert.equal(execFileSync("redis-cli", [...base, "get", "a"], { env, encoding: "utf8" }), "1\n");
      },
    );

    await context.test("the native client", async () => {
      const client = await connect({ addresses: addresses.slice(0, 1), tls: { ca }, password: "right" });
      assert.equal(await client.get("a"), "1");
      await client.close();
      const certified = await connect({ addresses, tls: { ca, ...machines.certificate("client") } });
      assert.equal(await certified.get("a"), "1");
      await certified.close();
      await assert.rejects(connect({ addresses, tls: { ca }, password: "wrong" }), AuthenticationError);
      await assert.rejects(connect({ addresses, tls: { ca } }), AuthenticationError);
      await assert.rejects(connect({ addresses, deadlineMs: 300 }), /no replica answered/);
      await assert.rejects(connect({ addresses, tls: { ca: "nonsense", cert: "x" } }), ConfigError);
    });

    await context.test("status, from the directory and from afar", async () => {
      assert.match(await machines.succeed(["status", "--data", machines.data(2)]), /digests equal on 3\/3/);
      const afar = ["status", "--address", addresses[1]!, "--tls-ca", machines.ca];
      assert.match(await machines.succeed(afar, { SYNOD_PASSWORD: "right" }), /digests equal on 3\/3/);
      const refused = await runSynod(afar, { SYNOD_PASSWORD: "wrong" });
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /do not let this program in/);
    });

    await context.test("a backup from the directory, where a password is in the environment too", async () => {
      const file = join(machines.directory, "of-the-directory.backup");
      await machines.succeed(["backup", file, "--data", machines.data(2)], { SYNOD_PASSWORD: "right" });
    });

    await context.test("init makes no voter where a replica is there and does not let it in", async () => {
      const { security, ...rest } = machines.config;
      const file = join(machines.directory, "other-secret.json");
      machines.write({ ...rest, security: { ...security, secret: "0f".repeat(32) } }, file);
      const refused = await runSynod(["init", "1", "--cluster", file, "--data", join(machines.directory, "again")]);
      assert.equal(refused.code, 1, refused.stderr);
      assert.match(refused.stderr, /do not let this program in/);
    });

    await context.test("a killed leader's cluster goes on over TLS", async () => {
      const client = await connect({ addresses, tls: { ca }, password: "right" });
      replicas[0]!.kill("SIGKILL");
      await replicas[0]!.exit();
      for (let i = 0; i < 20; i++) assert.equal(await client.set("b", `${i}`), true);
      await client.close();
    });

    await context.test("a replica whose disk is lost is made again, and votes when it has caught up", async () => {
      rmSync(machines.data(1), { recursive: true });
      const refused = await machines.init(1);
      assert.equal(refused.code, 1, refused.stderr);
      assert.match(refused.stderr, /decided \d+ instances already.*--rejoin/);
      assert.equal((await machines.init(1, "--rejoin")).code, 0);
      const again = machines.start(1);
      await again.ready();
      assert.match(again.stderr, /may have forgotten votes/);
      // Its vote is needed now.
      replicas[1]!.kill("SIGKILL");
      await replicas[1]!.exit();
      const client = await connect({ addresses, tls: { ca }, password: "right" });
      assert.equal(await client.set("c", "1"), true);
      assert.equal(await client.get("b"), "19");
      await client.close();
    });
  });

  test("reads certificates and passwords anew at SIGHUP, and keeps what it has when they are bad", async (context) => {
    const machines = await Machines.make(context);
    const [replica] = await machines.startAll();
    assert.ok(replica !== undefined);
    const own = join(machines.data(1), "tls");
    const fingerprint = async (): Promise<string | undefined> => {
      const [host, port] = machines.config.replicas[0]!.resp.split(":") as [string, string];
      const socket = connectTls({ host, port: Number(port), ca: readFileSync(machines.ca) });
      await new Promise((resolve) => socket.once("secureConnect", resolve));
      const shown = socket.getPeerX509Certificate()?.fingerprint256;
      socket.destroy();
      return shown;
    };
    const before = await fingerprint();
    const staying = machines.redis(1, { password: "right" });
    assert.equal(await staying.set("a", "1"), "OK");

    writeFileSync(join(own, "replica-1.crt"), "nonsense");
    replica.kill("SIGHUP");
    await untilLogged(replica, "certificates-not-reloaded");
    await untilLogged(replica, '"passwords-reloaded"', 1);
    assert.equal(await fingerprint(), before);

    await machines.succeed(["certificates", "--cluster", machines.file]);
    for (const end of ["crt", "key"]) {
      copyFileSync(join(machines.directory, "tls", `replica-1.${end}`), join(own, `replica-1.${end}`));
    }
    const file = join(machines.data(1), "cluster.json");
    const config = machines.read(file);
    const hash = (await machines.succeed(["config", "password"], { SYNOD_PASSWORD: "newer" })).trim();
    machines.write({ ...config, security: { ...config.security, passwords: { default: hash } } }, file);
    replica.kill("SIGHUP");
    await untilLogged(replica, '"passwords-reloaded"', 2);
    assert.notEqual(await fingerprint(), before);
    assert.equal(await staying.get("a"), "1", "who is in stays in");
    staying.disconnect();
    const newer = machines.redis(1, { password: "newer" });
    assert.equal(await newer.get("a"), "1");
    newer.disconnect();
    const older = machines.redis(1, { password: "right" });
    await assert.rejects(older.get("a"), /NOAUTH|WRONGPASS/);
    older.disconnect();
    assert.equal(replica.ended, false);
  });

  test("refuses to start with the certificate of another replica, and with what does not fit", async (context) => {
    const machines = await Machines.make(context);
    assert.equal((await machines.init(1)).code, 0);
    const own = (name: string): string => join(machines.data(1), "tls", name);
    const made = (name: string): string => join(machines.directory, "tls", name);
    copyFileSync(made("replica-2.crt"), own("replica-1.crt"));
    const other = machines.start(1);
    assert.equal(await other.exit(), 4);
    assert.match(other.stderr, /does not name synod:\/\/[0-9a-f]{16}\/replica\/1/);
    copyFileSync(made("replica-1.crt"), own("replica-1.crt"));
    copyFileSync(made("replica-2.key"), own("replica-1.key"));
    const mixed = machines.start(1);
    assert.equal(await mixed.exit(), 4);
    assert.match(mixed.stderr, /do not fit together/);
  });

  test("warns of an administration port that others can reach", async (context) => {
    const machines = await Machines.make(context);
    const { config } = machines;
    const [first] = config.replicas;
    assert.ok(first !== undefined);
    first.admin = first.admin?.replace("127.0.0.1", "0.0.0.0") ?? "";
    machines.write(config);
    assert.equal((await machines.init(1)).code, 0);
    await untilLogged(machines.start(1), "administration is neither encrypted nor authenticated");
  });

  test("init makes a replica once, and of the right cluster", async (context) => {
    const machines = await Machines.make(context);
    assert.equal((await machines.init(1)).code, 0);
    const twice = await machines.init(1);
    assert.equal(twice.code, 4);
    assert.match(twice.stderr, /has been made already/);
    assert.equal((await machines.init(4)).code, 4);
    machines.write({ ...machines.config, clusterId: "00000000000000aa" });
    const foreign = await machines.init(2, "--data", machines.data(1));
    assert.equal(foreign.code, 4, foreign.stderr);
  });
});

describe("addresses beyond this machine", () => {
  const base = {
    format: 1,
    clusterId: "0123456789abcdef",
    service: "kv",
    ordering: "multi-paxos",
    execution: "pipelined",
    reads: "quorum",
    groups: 1,
    durability: "fsync",
    replicas: [{ id: 1, peer: "192.0.2.1:7001", client: "192.0.2.1:7002", resp: "192.0.2.1:7003" }],
  };
  test("include what looks like a loopback address and is none", async (context) => {
    const directory = mkdtempSync(join(tmpdir(), "synod-refused-"));
    context.after(() => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, "cluster.json");
    for (const host of ["127.999.0.1", "127.0.0.1.example", "localhost.example", "[::]", "[::ffff:127.0.0.1]"]) {
      const replicas = [{ id: 1, peer: `${host}:7001`, client: "127.0.0.1:7002", resp: "127.0.0.1:7003" }];
      writeFileSync(file, JSON.stringify({ ...base, replicas }));
      const { code, stderr } = await runSynod(["config", "check", "--cluster", file]);
      assert.equal(code, 4, `${host}: ${stderr}`);
      assert.match(stderr, /is not a loopback address/);
    }
  });

  test("are not let through by SYNOD_INSECURE_NETWORK=false", async (context) => {
    const directory = mkdtempSync(join(tmpdir(), "synod-refused-"));
    context.after(() => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, "cluster.json");
    writeFileSync(file, JSON.stringify(base));
    const outcomes: unknown[] = [];
    for (const value of ["false", "0", "", "maybe", "true"]) {
      const args = ["init", "1", "--cluster", file, "--data", join(directory, `data-${value}`)];
      outcomes.push((await runSynod(args, { SYNOD_INSECURE_NETWORK: value })).code);
    }
    assert.deepEqual(outcomes, [4, 4, 4, 4, 0]);
  });

  const files = { cert: "a", key: "b", ca: "c" };
  const secret = "00".repeat(32);
  for (const [what, security, missing] of [
    ["nothing", undefined, /no TLS between replicas .*, no TLS for clients .*, no authentication of clients/],
    ["TLS between replicas only", { peers: files }, /there is no TLS for clients .*, no authentication/],
    ["no authentication", { peers: files, clients: files }, /there is no authentication of clients/],
    ["passwords only", { passwords: { default: "plain:x" }, secret }, /no TLS between replicas .*, no TLS for clients/],
  ] as const) {
    test(`are refused with ${what}, and the error says what is missing`, async (context) => {
      const directory = mkdtempSync(join(tmpdir(), "synod-refused-"));
      context.after(() => rmSync(directory, { recursive: true, force: true }));
      const file = join(directory, "cluster.json");
      writeFileSync(file, JSON.stringify({ ...base, ...(security === undefined ? {} : { security }) }));
      for (const args of [
        ["config", "check", "--cluster", file],
        ["init", "1", "--cluster", file, "--data", join(directory, "data")],
        ["replica", "1", "--data", directory],
      ]) {
        const { code, stderr } = await runSynod(args);
        assert.equal(code, 4, stderr);
        assert.match(stderr, missing);
        assert.match(stderr, /192\.0\.2\.1:7001 is not a loopback address/);
      }
    });
  }
});
