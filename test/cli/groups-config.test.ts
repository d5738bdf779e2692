/** What a cluster with several groups may be, and what of it is recorded. Nothing here starts a replica. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type ClusterConfig, clusterChecksum, clusterShape, memberAddress } from "#src/model/index.js";
import { openCluster } from "#src/runtime/index.js";
import { finished, temporaryDirectory } from "./synod-process.js";

const several = { groups: 2, execution: "psmr", service: "btree", port: 0 } as const;
const flags = ["--groups", "2", "--execution", "psmr", "--service", "btree"];

const optimistic = ["--groups", "2", "--execution", "opt-psmr", "--service", "btree"];

describe("combinations with groups", () => {
  const refused: readonly (readonly [args: readonly string[], reason: RegExp])[] = [
    [
      ["--groups", "2", "--service", "btree"],
      /execution pipelined has at most 1 group, got 2; psmr and opt-psmr have up to 16/,
    ],
    [["--groups", "2", "--execution", "sequential", "--service", "btree"], /sequential has at most 1 group, got 2/],
    [["--groups", "17"], /--groups.*whole number from 1 to 16/],
    [["--groups", "0"], /--groups.*whole number from 1 to 16/],
    [[...flags, "--reads", "quorum"], /with 2 groups reads are ordered, got quorum/],
    [["--groups", "2", "--execution", "psmr", "--service", "counter"], /service counter has one group/],
    [["--merge", "skips"], /merge skips needs execution psmr or opt-psmr, got pipelined/],
    [["--barrier", "command"], /barrier command needs execution psmr or opt-psmr, got pipelined/],
    [[...flags, "--merge", "sometimes"], /--merge.*points, skips/],
    [[...flags, "--barrier", "never"], /--barrier.*run, command/],
    [["--resubmit", "client"], /resubmit client needs execution opt-psmr, got pipelined/],
    [[...flags, "--resubmit", "client"], /resubmit client needs execution opt-psmr, got psmr/],
    [[...flags, "--bounds", "5"], /bounds 5 needs execution opt-psmr, got psmr/],
    [[...optimistic, "--resubmit", "nobody"], /--resubmit.*replicas, client/],
    [[...optimistic, "--service", "kv", "--bounds", "5"], /bounds are of the keys of service btree, got service kv/],
    [[...optimistic, "--bounds", "0x10"], /--bounds.*whole numbers in decimal, separated by commas/],
    [[...optimistic, "--bounds", ""], /--bounds.*whole numbers in decimal, separated by commas/],
    [[...optimistic, "--service", "counter"], /service counter has one group/],
  ];
  for (const [args, reason] of refused) {
    test(`up ${args.join(" ")} exits 4`, async (t) => {
      const data = join(temporaryDirectory(t), "data");
      const { code, stderr } = await finished(t, ["up", "--data", data, "--port", "0", ...args]);
      assert.match(stderr, reason);
      assert.match(stderr, /^synod: [^\n]+\n$/);
      assert.equal(code, 4);
      assert.ok(!existsSync(data));
    });
  }

  const misplaced: readonly (readonly [groups: number, bounds: readonly string[], reason: RegExp])[] = [
    [2, ["5", "6"], /bounds are one fewer than groups, 1, got 2/],
    [1, ["5"], /bounds are one fewer than groups, 0, got 1/],
    [3, ["6", "5"], /bounds ascend, got 5 behind 6/],
    [3, ["6", "6"], /bounds ascend, got 6 behind 6/],
    [2, ["0"], /from 1 to 2\^64 - 1 in decimal, got 0/],
    [2, ["007"], /from 1 to 2\^64 - 1 in decimal, got 007/],
    [2, ["18446744073709551616"], /from 1 to 2\^64 - 1 in decimal, got 18446744073709551616/],
    [2, ["9".repeat(1000)], /from 1 to 2\^64 - 1 in decimal, got 9{30}$/],
  ];
  for (const [groups, bounds, reason] of misplaced) {
    test(`bounds ${bounds.join(",").slice(0, 40)} of ${groups} groups are refused`, async (t) => {
      const data = join(temporaryDirectory(t), "data");
      await assert.rejects(openCluster(data, { ...several, execution: "opt-psmr", groups, bounds }), reason);
      assert.ok(!existsSync(data));
    });
  }

  test("config print has the merge and the barrier of several groups, and reads that are ordered", async (t) => {
    const { code, lines } = await finished(t, ["config", "print", "--json", ...flags, "--barrier", "command"]);
    assert.equal(code, 0);
    const [{ config, sources }] = lines as unknown as [Record<"config" | "sources", Record<string, unknown>>];
    const { groups, execution, reads, merge, barrier } = config;
    assert.deepEqual([groups, execution, reads, merge, barrier], [2, "psmr", "ordered", "points", "command"]);
    assert.deepEqual([sources["reads"], sources["merge"], sources["barrier"]], ["default", "default", "flag"]);
  });
});

describe("the directory of a cluster with groups", () => {
  test("has an address and an identity for each member, and records what makes them", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const { config } = await openCluster(data, { ...several, merge: "skips" });
    const recorded = JSON.parse(readFileSync(join(data, "cluster.json"), "utf8")) as ClusterConfig;
    assert.deepEqual(recorded, config);
    const { groups, execution, reads, merge, barrier } = recorded;
    assert.deepEqual([groups, execution, reads, merge, barrier], [2, "psmr", "ordered", "skips", "run"]);
    for (const replica of recorded.replicas) {
      for (const member of [0, 1, 2]) {
        const { peer, client } = memberAddress(replica, member);
        for (const address of [peer, client]) assert.match(address, /^127\.0\.0\.1:\d+$/);
      }
    }
    for (const { id } of recorded.replicas) {
      const folder = join(data, `replica-${id}`);
      assert.deepEqual(readdirSync(folder).toSorted(), ["group-0", "group-1", "group-2"]);
      const shapes = [0, 1, 2].map((member) => readFileSync(join(folder, `group-${member}`, "identity"), "latin1"));
      for (const [member, text] of shapes.entries()) assert.ok(text.includes(clusterShape(recorded, member)));
    }
  });

  test("is continued with what it records, and with nothing else", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const { config } = await openCluster(data, several);
    assert.deepEqual((await openCluster(data, {})).config, config);
    assert.deepEqual((await openCluster(data, { ...several, merge: "points", barrier: "run" })).config, config);
    const others: readonly (readonly [request: Parameters<typeof openCluster>[1], reason: RegExp])[] = [
      [{ groups: 3 }, /groups 2, not 3/],
      [{ groups: 1 }, /groups 2, not 1/],
      [{ merge: "skips" }, /merge points, not skips/],
      [{ barrier: "command" }, /barrier run, not command/],
      [{ execution: "pipelined" }, /execution psmr, not pipelined/],
      [{ execution: "opt-psmr" }, /execution psmr, not opt-psmr/],
      [{ resubmit: "client" }, /resubmit client needs execution opt-psmr, got psmr/],
      [{ reads: "quorum" }, /with 2 groups reads are ordered/],
    ];
    for (const [request, reason] of others) await assert.rejects(openCluster(data, request), reason);
    const checked = await finished(t, ["config", "check", "--data", data, "--groups", "3"]);
    assert.match(checked.stderr, /groups 2, not 3/);
    assert.equal(checked.code, 4);
  });

  test("of opt-psmr records who sends again and where keys are cut, and is continued with that", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const asked = { ...several, groups: 3, execution: "opt-psmr", bounds: ["10", "18446744073709551615"] } as const;
    const { config } = await openCluster(data, asked);
    assert.deepEqual([config.resubmit, config.bounds], ["replicas", asked.bounds]);
    assert.deepEqual((await openCluster(data, {})).config, config);
    assert.deepEqual((await openCluster(data, { ...asked, resubmit: "replicas" })).config, config);
    const others: readonly (readonly [request: Parameters<typeof openCluster>[1], reason: RegExp])[] = [
      [{ execution: "psmr" }, /execution opt-psmr, not psmr; leave out --execution/],
      [{ resubmit: "client" }, /resubmit replicas, not client/],
      [{ bounds: ["10", "11"] }, /bounds 10,18446744073709551615, not 10,11/],
    ];
    for (const [request, reason] of others) await assert.rejects(openCluster(data, request), reason);
    // As `up` says it, rather than of a resubmit that nobody has asked for.
    const checked = await finished(t, ["config", "check", "--data", data, "--execution", "psmr"]);
    assert.match(checked.stderr, /was created with execution opt-psmr, not psmr; leave out --execution/);
    assert.equal(checked.code, 4);
    const printed = await finished(t, ["config", "print", "--data", data]);
    assert.equal(printed.code, 0, printed.stderr);
    assert.match(printed.stdout, /^bounds +10,18446744073709551615 +cluster.json$/m);
    assert.match(printed.stdout, /^resubmit +replicas +cluster.json$/m);
    const file = join(data, "cluster.json");
    for (const edit of [{ bounds: ["11", "10"] }, { bounds: [10, 11] }, { bounds: ["10"] }, { resubmit: "nobody" }]) {
      writeFileSync(file, JSON.stringify({ ...config, ...edit }));
      await assert.rejects(openCluster(data, {}), /bound|resubmit/);
    }
  });

  test("replicas of opt-psmr that differ in it are no peers of each other", async (t) => {
    const { config } = await openCluster(join(temporaryDirectory(t), "data"), { ...several, execution: "opt-psmr" });
    assert.deepEqual([config.resubmit, config.bounds], ["replicas", undefined]);
    const others: readonly ClusterConfig[] = [
      config,
      { ...config, resubmit: "client" },
      { ...config, bounds: ["10"] },
      { ...config, bounds: ["11"] },
      { ...config, execution: "psmr", resubmit: undefined },
    ];
    for (const member of [0, 1, 2]) {
      assert.equal(new Set(others.map((other) => clusterChecksum(other, member))).size, others.length);
      assert.equal(new Set(others.map((other) => clusterShape(other, member))).size, others.length);
    }
    assert.equal(
      clusterChecksum({ ...config, resubmit: undefined }, 1),
      clusterChecksum(config, 1),
      "the default is said",
    );
  });

  test("can't be edited to say what does not fit", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const { config } = await openCluster(data, several);
    const file = join(data, "cluster.json");
    const edits: readonly (readonly [edit: object, reason: RegExp])[] = [
      [{ groups: 3 }, /needs 3 addresses in members for 3 groups, got 2/],
      [{ groups: 1 }, /needs 0 addresses in members/],
      [{ merge: "never" }, /merge/],
      [{ groups: 17 }, /groups/],
      [{ service: "counter" }, /service counter has one group/],
    ];
    for (const [edit, reason] of edits) {
      writeFileSync(file, JSON.stringify({ ...config, ...edit }));
      await assert.rejects(openCluster(data, {}), reason);
    }
  });

  for (const [from, to] of [
    [1, 2],
    [2, 1],
  ] as const) {
    test(`edited from groups ${from} to ${to} starts no replica, and nothing is written`, async (t) => {
      const folder = temporaryDirectory(t);
      const data = join(folder, "data");
      const asked = (groups: 1 | 2) => (groups === 1 ? { service: "btree", port: 0 } : several);
      const { config } = await openCluster(data, asked(from));
      const other = (await openCluster(join(folder, "other"), asked(to))).config;
      writeFileSync(join(data, "cluster.json"), JSON.stringify({ ...other, clusterId: config.clusterId }));
      const files = () => readdirSync(data, { recursive: true, encoding: "utf8" }).toSorted();
      const before = files();
      const { code, stderr } = await finished(t, ["replica", "1", "--data", data]);
      assert.match(stderr, new RegExp(`was made for a cluster with groups ${from}; cluster.json says groups ${to}:`));
      assert.equal(code, 4);
      assert.deepEqual(files(), before);
    });
  }

  for (const execution of ["psmr", "opt-psmr"] as const) {
    test(`${execution} with one group records one, and may become pipelined`, async (t) => {
      const data = join(temporaryDirectory(t), "data");
      const { config } = await openCluster(data, { execution, merge: "skips", port: 0 });
      assert.deepEqual(
        [config.groups, config.execution, config.merge, config.reads],
        [1, execution, undefined, "quorum"],
      );
      assert.equal(config.resubmit, undefined);
      assert.ok(config.replicas.every(({ members }) => members === undefined));
      assert.equal((await openCluster(data, { execution: "pipelined" })).config.execution, "pipelined");
      await assert.rejects(openCluster(data, { groups: 2, execution, service: "btree" }), /service kv, not btree/);
    });
  }

  test("several machines: config new gives each member a port, and init an identity", async (t) => {
    const directory = temporaryDirectory(t);
    const file = join(directory, "cluster.json");
    const made = await finished(
      t,
      ["config", "new", "--cluster", file, "--host", "127.0.0.1", "--host", "127.0.0.2", ...flags],
      { SYNOD_PASSWORD: "right" },
    );
    assert.equal(made.code, 0, made.stderr);
    const config = JSON.parse(readFileSync(file, "utf8")) as Omit<ClusterConfig, "security"> & {
      security: Record<string, unknown>;
    };
    assert.deepEqual(config.replicas[1]?.members, [
      { peer: "127.0.0.2:9380", client: "127.0.0.2:8380" },
      { peer: "127.0.0.2:9381", client: "127.0.0.2:8381" },
    ]);
    // Certificates are not what this is about.
    delete config.security["peers"];
    delete config.security["clients"];
    writeFileSync(file, JSON.stringify(config));
    const data = join(directory, "data");
    const init = await finished(t, ["init", "2", "--cluster", file, "--data", data]);
    assert.equal(init.code, 0, init.stderr);
    for (const member of [0, 1, 2]) assert.ok(existsSync(join(data, "replica-2", `group-${member}`, "identity")));
    const rejoined = await finished(t, ["init", "1", "--cluster", file, "--data", join(directory, "r"), "--rejoin"]);
    assert.equal(rejoined.code, 0, rejoined.stderr);
    assert.deepEqual(readdirSync(join(directory, "r", "replica-1")), []);
  });
});
