import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { programName } from "#src/cli/program-name.js";
import { finished, temporaryDirectory } from "./synod-process.js";

const commands = ["up", "replica", "status", "bench", "check", "doctor", "config"];

describe("the program explains itself", () => {
  test("--help names every command and exits 0", async (t) => {
    const { code, stdout, stderr } = await finished(t, ["--help"]);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    for (const command of commands) assert.match(stdout, new RegExp(`^  ${command}\\b`, "m"));
  });
  for (const command of commands) {
    test(`${command} --help exits 0`, async (t) => {
      const { code, stdout } = await finished(t, [command, "--help"]);
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`^Usage: synod ${command}\\b`));
    });
  }
  test("siblings that are not built are absent from the help", async (t) => {
    const { stdout } = await finished(t, ["up", "--help"]);
    assert.match(stdout, /--ordering <name>.*multi-paxos/s);
    for (const absent of ["raft", "pbft", "zyzzyva", "sdpe", "--speculative", "--partitions", "lease"]) {
      assert.ok(!stdout.includes(absent), absent);
    }
  });
  test("restore names no defaults but the port's: the rest comes from the backup", async (t) => {
    const { stdout } = await finished(t, ["restore", "--help"]);
    assert.doesNotMatch(stdout, /default:\s+(3|kv|pipelined|quorum|fsync|multi-paxos)\)/);
    assert.match(stdout, /default:\s+7379\)/);
  });
  test("a number is shown with its range", async (t) => {
    const { stdout } = await finished(t, ["up", "--help"]);
    assert.match(stdout.replace(/\s+/g, " "), /number of replicas; 1 to 31 \(default: 3\)/);
    assert.match(stdout.replace(/\s+/g, " "), /0 takes free ports; 0 to 65504 \(default: 7379\)/);
    const sim = await finished(t, ["sim", "--help"]);
    assert.match(sim.stdout.replace(/\s+/g, " "), /seeds run at once; 1 to 256 \(default: one a core\)/);
    assert.doesNotMatch(sim.stdout, /9007199254740991/);
  });
  test("--version is the package's", async (t) => {
    const { code, stdout } = await finished(t, ["--version"]);
    assert.equal(code, 0);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });
});

describe("what is wrong with the arguments is said in one line, and exits 4", () => {
  const cases: readonly (readonly [args: readonly string[], reason: RegExp])[] = [
    [["up", "--frobnicate"], /unknown option '--frobnicate'/],
    [["upp"], /unknown command 'upp'/],
    [["up", "--replicas", "three"], /--replicas.*whole number from 1 to 31/],
    [["up", "--replicas", "0"], /--replicas.*whole number from 1 to 31/],
    [["up", "--replicas", "32"], /--replicas.*whole number from 1 to 31/],
    [["up", "--port", "70000"], /--port/],
    [["up", "--durability", "maybe"], /--durability.*fsync, os, memory/],
    [["up", "--ordering", "raft"], /raft.*not built yet/],
    [["up", "--ordering", "paxxos"], /paxxos.*unknown/],
    [["up", "--execution", "sdpe"], /sdpe.*not built yet/],
    [["up", "--service", "fs"], /fs.*not built yet/],
    [["up", "--reads", "lease"], /lease.*not built yet/],
    [["up", "--groups", "4"], /pipelined has at most 1 group, got 4/],
    [["up", "--speculative"], /--speculative.*not built yet/],
    [["up", "--dissemination", "ring"], /--dissemination.*not built yet/],
    [["up", "extra"], /too many arguments/],
    [["replica"], /missing required argument 'id'/],
    [["replica", "zero"], /id.*whole number/],
    [["status", "--address", "nowhere"], /host:port/],
    [["bench", "--seconds", "0"], /--seconds/],
    [["bench", "--workload", "chaos"], /--workload.*put/],
    [["restore", "."], /is a directory, no backup/],
    [["backup", "absent/b", "--data", "absent"], /there is no directory .*absent/],
  ];
  for (const [args, reason] of cases) {
    test(`synod ${args.join(" ")}`, async (t) => {
      const { code, stdout, stderr } = await finished(t, args);
      assert.match(stderr, reason);
      assert.match(stderr, /^synod: [^\n]+\n$/);
      assert.equal(stdout, "");
      assert.equal(code, 4);
    });
  }
  test("a value of the environment is checked like a flag", async (t) => {
    const { code, stderr } = await finished(t, ["config", "check"], { SYNOD_REPLICAS: "many" });
    assert.match(stderr, /SYNOD_REPLICAS.*whole number/);
    assert.equal(code, 4);
  });
  test("a variable of the environment that no option reads is named, and no others are", async (t) => {
    const env = { SYNOD_REPLICA: "5", SYNOD_REPLICAS: "3", SYNOD_CLIENTS: "2", SYNOD_PASSWORD: "x" };
    const { code, stderr } = await finished(t, ["config", "check"], env);
    assert.equal(stderr, "synod: no option reads the variable SYNOD_REPLICA of the environment\n");
    assert.equal(code, 0);
  });
  test("an address at which no replica answers comes with what would be one", async (t) => {
    const { code, stderr } = await finished(t, ["status", "--address", "127.0.0.1:1"]);
    assert.match(stderr, /no replica answered.*127\.0\.0\.1:1.*client address/);
    assert.equal(code, 1);
  });
  test("no command at all", async (t) => {
    const { code, stderr } = await finished(t, []);
    assert.match(stderr, /^Usage: synod/);
    assert.equal(code, 4);
  });
});

describe("a value comes from the flag, else the environment, else the file, else the default", () => {
  test("config print tells each value and its source", async (t) => {
    const file = join(temporaryDirectory(t), "synod.json");
    writeFileSync(file, JSON.stringify({ replicas: 5, port: 9000, durability: "os", clients: 3 }));
    const args = ["config", "print", "--json", "--config", file, "--replicas", "1"];
    const { code, lines } = await finished(t, args, { SYNOD_PORT: "8000" });
    assert.equal(code, 0);
    assert.deepEqual(lines[0], {
      config: {
        data: "./synod-data",
        service: "kv",
        replicas: 1,
        groups: 1,
        ordering: "multi-paxos",
        execution: "pipelined",
        reads: "quorum",
        durability: "os",
        port: 8000,
      },
      sources: {
        data: "default",
        service: "default",
        replicas: "flag",
        groups: "default",
        ordering: "default",
        execution: "default",
        reads: "default",
        durability: file,
        port: "SYNOD_PORT",
      },
    });
  });
  const bad: readonly (readonly [content: string, reason: RegExp])[] = [
    ["{", /JSON/],
    ["[]", /one JSON object/],
    ['{"replicaz": 3}', /no command has the option "replicaz"/],
    ['{"replicas": 99}', /"replicas": It must be a whole number/],
    ['{"replicas": true}', /"replicas" takes a value/],
    ['{"replicas": [3]}', /"replicas" must be a string/],
  ];
  for (const [content, reason] of bad) {
    test(`a file with ${content} is refused`, async (t) => {
      const file = join(temporaryDirectory(t), "synod.json");
      writeFileSync(file, content);
      const { code, stderr } = await finished(t, ["config", "check", "--config", file]);
      assert.match(stderr, reason);
      assert.equal(code, 4);
    });
  }
});

describe("the name that a printed command begins with", () => {
  const cases: readonly (readonly [script: string, directory: string, path: string, name: string])[] = [
    ["/opt/ana/synod/bin/synod", "/opt/ana/synod", "/usr/bin", "bin/synod"],
    ["/opt/ana/synod/bin/synod", "/tmp", "/usr/bin", "/opt/ana/synod/bin/synod"],
    ["/usr/local/bin/synod", "/tmp", "/usr/local/bin:/usr/bin", "synod"],
    ["/opt/ana/shop/node_modules/.bin/synod", "/opt/ana/shop", "/usr/bin", "npx synod"],
    ["", "/tmp", "/usr/bin", "synod"],
  ];
  for (const [script, directory, path, name] of cases) {
    test(`is ${name} for ${script || "no script"} in ${directory}`, () => {
      assert.equal(programName(script, directory, path), name);
    });
  }
});

describe("the directory must be one that the command can use", () => {
  test("files of somebody else are left alone", async (t) => {
    const directory = temporaryDirectory(t);
    writeFileSync(join(directory, "thesis.txt"), "years of work");
    const { code, stderr } = await finished(t, ["up", "--data", directory, "--port", "0"]);
    assert.match(stderr, /thesis\.txt/);
    assert.equal(code, 4);
    assert.equal(readFileSync(join(directory, "thesis.txt"), "utf8"), "years of work");
  });
  const broken: readonly (readonly [content: string, reason: RegExp])[] = [
    ["{", /not JSON/],
    ['{"format": 2}', /format 2.*reads format 1/],
    ['{"format": 1}', /clusterId/],
  ];
  for (const [content, reason] of broken) {
    test(`cluster.json with ${content} is refused`, async (t) => {
      const directory = temporaryDirectory(t);
      writeFileSync(join(directory, "cluster.json"), content);
      for (const args of [["up"], ["replica", "1"], ["status"]]) {
        const { code, stderr } = await finished(t, [...args, "--data", directory]);
        assert.match(stderr, reason);
        assert.equal(code, 4);
      }
    });
  }
  test("a directory without a cluster has no replicas and no status", async (t) => {
    const directory = temporaryDirectory(t);
    for (const args of [["replica", "1"], ["status"]]) {
      const { code, stderr } = await finished(t, [...args, "--data", directory]);
      assert.match(stderr, /holds no cluster/);
      assert.equal(code, 4);
    }
  });
});

describe("check", () => {
  const event = (process: string, type: string, rest: object, tNs: number): string =>
    JSON.stringify({ process, type, op: "get", args: ["k"], ...rest, t_ns: tNs });
  const written = [
    JSON.stringify({ process: "a", type: "invoke", op: "set", args: ["k", "v"], t_ns: 1 }),
    JSON.stringify({ process: "a", type: "ok", op: "set", args: ["k", "v"], result: "OK", t_ns: 2 }),
    event("b", "invoke", {}, 3),
  ];
  const cases: readonly (readonly [last: string, code: number, verdict: string])[] = [
    [event("b", "ok", { result: "v" }, 4), 0, "linearizable"],
    [event("b", "ok", { result: null }, 4), 5, "violation"],
  ];
  for (const [last, expected, verdict] of cases) {
    test(`a history that is a ${verdict} exits ${expected}`, async (t) => {
      const file = join(temporaryDirectory(t), "history.jsonl");
      writeFileSync(file, [...written, last].join("\n"));
      const { code, lines } = await finished(t, ["check", file, "--json"]);
      assert.equal(lines[0]?.["verdict"], verdict);
      assert.equal(code, expected);
    });
  }
});

test("doctor examines the machine, one line a check", async (t) => {
  const { lines } = await finished(t, ["doctor", "--json", "--data", temporaryDirectory(t)]);
  const checks = ["node", "memory", "open files", "clock", "loopback", "ports", "disk space", "disk sync"];
  assert.deepEqual(
    lines.map((line) => line["check"]),
    checks,
  );
  for (const line of lines) assert.match(String(line["verdict"]), /^(ok|warn|fail)$/);
  assert.equal(lines.find((line) => line["check"] === "node")?.["verdict"], "ok");
});
