/** Health and metrics over HTTP: what is served, that it is well formed, and that a stuck replica is noticed. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { connect } from "node:net";
import { describe, test, type TestContext } from "node:test";
import {
  LAG_INSTANCES_MAX,
  metricsPage,
  metricTable,
  type ProcessFacts,
  READING_MS_MAX,
  readiness,
  startAdminServer,
} from "#src/gateway/admin/index.js";
import { ListenError } from "#src/model/index.js";
import { freePorts, ReplicaMetrics, type ReplicaReading } from "#src/runtime/index.js";

const facts: ProcessFacts = {
  version: '0.1 "x"',
  replica: 2,
  config: {
    format: 1,
    clusterId: "0123456789abcdef",
    service: "./a\\b.js",
    ordering: "multi-paxos",
    execution: "pipelined",
    reads: "quorum",
    groups: 1,
    durability: "fsync",
    replicas: [{ id: 2, peer: "127.0.0.1:1", client: "127.0.0.1:2", resp: null }],
  },
};
const own = { residentBytes: 1e8, cpuSeconds: 1.5, startedSeconds: 1.7e9 };

function reading(change: Partial<ReplicaReading> = {}): ReplicaReading {
  const metrics = new ReplicaMetrics();
  for (const [instance, durationMs] of [0.01, 0.3, 0.3, 7, 20_000].entries()) {
    metrics.proposed(instance + 1, 100);
    metrics.decided(instance + 1, 100 + durationMs);
    metrics.logWrite.record(durationMs);
  }
  return {
    status: {
      id: 2,
      role: "follower",
      ballot: 65,
      leader: 1,
      decided: 100,
      executed: 99,
      trimmed: 10,
      checkpoint: 20,
      checkpointBytes: 4096,
      commands: 1234,
      sessions: 3,
      entries: 5,
      stateBytes: 321,
      logBytes: 1 << 20,
      logMemoryBytes: 1 << 19,
      optimistic: { passed: 900, failed: 34, conservative: 33 },
      differing: [],
    },
    recovered: true,
    commit: metrics.commit.read(),
    logWrite: metrics.logWrite.read(),
    checkpointWork: { bounds: [0.05, 0.5], counts: [3, 1, 0], sumSeconds: 0.4 },
    checkpointWorkMaxMs: 12.5,
    loopDelay: metrics.logWrite.read(),
    loopActiveMs: 1500,
    heapBytes: 1,
    externalBytes: 2,
    elected: 1,
    steppedDown: 2,
    checkpoints: 3,
    statesInstalled: 4,
    rejoined: 5,
    resp: { connections: 7, connectionsTotal: 8, connectionsRefused: 9, requests: 10 },
    ...change,
  };
}

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads the text format as strictly as its grammar is: throws on any line that is neither a comment nor a sample. */
function parsed(page: string): { readonly types: ReadonlyMap<string, string>; readonly samples: readonly Sample[] } {
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  assert.ok(page.endsWith("\n"));
  for (const line of page.slice(0, -1).split("\n")) {
    const type = /^# TYPE ([a-z_]+) (counter|gauge|histogram)$/.exec(line);
    if (type !== null) {
      assert.ok(!types.has(type[1]!), `${type[1]} is declared once`);
      types.set(type[1]!, type[2]!);
      continue;
    }
    if (/^# HELP [a-z_]+ .+$/.test(line)) continue;
    const sample = /^([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? ([-+0-9.eInfNa]+)$/.exec(line);
    assert.ok(sample !== null, `not a line of the format: ${line}`);
    const labels = [...(sample[2] ?? "").matchAll(/([a-z]+)="((?:[^"\\]|\\.)*)"/g)];
    samples.push({
      name: sample[1]!,
      labels: Object.fromEntries(labels.map(([, key, text]) => [key!, text!.replace(/\\(.)/g, "$1")])),
      value: Number(sample[3]!.replace("+Inf", "Infinity")),
    });
  }
  return { types, samples };
}

describe("the page of metrics", () => {
  test("has every metric of the table, declared with its type, and none beside", () => {
    const { types, samples } = parsed(metricsPage(facts, own, reading()));
    assert.deepEqual(
      [...types].map(([name, type]) => `${name} ${type}`).sort((a, b) => (a < b ? -1 : 1)),
      Object.values(metricTable)
        .map(({ name, type }) => `${name} ${type}`)
        .sort(),
    );
    for (const { name } of samples) {
      const metric = name.replace(/_(?:bucket|sum|count)$/, "");
      assert.ok(types.has(name) || types.get(metric) === "histogram", `${name} belongs to a metric`);
    }
    const value = (name: string): number | undefined => samples.find((each) => each.name === name)?.value;
    assert.equal(value("synod_decided_instance"), 100);
    assert.equal(value("synod_executed_total"), 1234);
    assert.equal(value("synod_resp_commands_total"), 10);
    assert.equal(value("synod_optimistic_passed_total"), 900);
    assert.equal(value("synod_optimistic_failed_total"), 34);
    assert.equal(value("synod_conservative_total"), 33);
    assert.equal(value("process_resident_memory_bytes"), 1e8);
    const build = samples.find(({ name }) => name === "synod_build_info");
    assert.equal(build?.labels["version"], '0.1 "x"');
    assert.equal(build?.labels["service"], "./a\\b.js");
    const roles = samples.filter(({ name }) => name === "synod_role");
    assert.deepEqual(
      roles.filter(({ value: on }) => on === 1).map(({ labels }) => labels["role"]),
      ["follower"],
    );
  });

  test("has cumulative histograms that end with everything", () => {
    const { samples } = parsed(metricsPage(facts, own, reading()));
    const buckets = samples.filter(({ name }) => name === "synod_commit_latency_seconds_bucket");
    const bounds = buckets.map(({ labels }) => Number(labels["le"]!.replace("+Inf", "Infinity")));
    assert.deepEqual(
      bounds,
      [...bounds].sort((a, b) => a - b),
    );
    assert.equal(bounds.at(-1), Infinity);
    const at = (bound: number): number | undefined => buckets[bounds.indexOf(bound)]?.value;
    assert.deepEqual(
      [at(0.000_05), at(0.000_2), at(0.000_5), at(0.005), at(0.01), at(10), at(Infinity)],
      [1, 1, 3, 3, 4, 4, 5],
    );
    const sum = samples.find(({ name }) => name === "synod_commit_latency_seconds_sum");
    assert.ok(Math.abs(sum!.value - 20.007_61) < 1e-6, `${sum?.value}`);
    assert.equal(samples.find(({ name }) => name === "synod_commit_latency_seconds_count")?.value, 5);
  });

  test("says what it can when the replica's thread says nothing", () => {
    const { samples } = parsed(metricsPage(facts, own, null));
    const value = (name: string): number | undefined => samples.find((each) => each.name === name)?.value;
    assert.equal(value("synod_replica_answers"), 0);
    assert.equal(value("synod_ready"), 0);
    assert.equal(value("process_cpu_seconds_total"), 1.5);
    assert.equal(value("synod_decided_instance"), undefined);
  });
});

describe("a replica's counters", () => {
  test("time only instances that this replica proposed, each once", () => {
    const metrics = new ReplicaMetrics();
    metrics.decided(1, 5);
    metrics.proposed(2, 10);
    metrics.decided(2, 11);
    metrics.decided(2, 12);
    // The slot of an instance that was never decided here is taken by a later one.
    metrics.proposed(3, 20);
    metrics.decided(3 + 4096, 30);
    const { counts, sumSeconds } = metrics.commit.read();
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      1,
    );
    assert.equal(sumSeconds, 0.001);
  });
});

describe("readiness", () => {
  const status = reading().status;
  test("needs recovery, a leader and little to execute", () => {
    assert.equal(readiness(reading()).ready, true);
    assert.equal(readiness(null).ready, false);
    assert.match(readiness(reading({ recovered: false })).reason, /recovering/);
    assert.match(readiness(reading({ status: { ...status, role: "recovering" } })).reason, /recovering/);
    assert.match(readiness(reading({ status: { ...status, leader: 0 } })).reason, /leader/);
    const behind = { ...status, decided: status.executed + LAG_INSTANCES_MAX };
    assert.equal(readiness(reading({ status: behind })).ready, true);
    assert.equal(readiness(reading({ status: { ...behind, decided: behind.decided + 1 } })).ready, false);
  });
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

function ask(port: number, path: string, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, path, method, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => (body += text));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    asked.on("error", reject);
    asked.end();
  });
}

async function served(context: TestContext, read: () => Promise<ReplicaReading | null>): Promise<number> {
  const [port = 0] = await freePorts(1);
  const server = await startAdminServer({ listen: `127.0.0.1:${port}`, facts, read });
  context.after(() => server.close());
  return port;
}

describe("the admin port", () => {
  test("serves health and metrics, and nothing else", async (context) => {
    const port = await served(context, () => Promise.resolve(reading()));
    assert.deepEqual([(await ask(port, "/livez")).status, (await ask(port, "/readyz")).status], [200, 200]);
    const metrics = await ask(port, "/metrics?x=1");
    assert.equal(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert.ok(parsed(metrics.body).samples.length > 50);
    const head = await ask(port, "/metrics", "HEAD");
    assert.deepEqual([head.status, head.body], [200, ""]);
    assert.equal((await ask(port, "/")).status, 404);
    assert.equal((await ask(port, "/metrics", "POST")).status, 405);
  });

  test("tells not ready from not alive", async (context) => {
    const port = await served(context, () => Promise.resolve(null));
    assert.equal((await ask(port, "/livez")).status, 200);
    const ready = await ask(port, "/readyz");
    assert.equal(ready.status, 503);
  });

  test("notices a stuck thread, and asks it once for all that wait", async (context) => {
    let asked = 0;
    const port = await served(context, () => {
      asked++;
      return new Promise(() => undefined);
    });
    const answers = await Promise.all(["/livez", "/readyz", "/metrics"].map((path) => ask(port, path)));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [503, 503, 200],
    );
    assert.match(answers[0]!.body, new RegExp(String(READING_MS_MAX)));
    assert.match(answers[2]!.body, /synod_replica_answers 0/);
    assert.equal(asked, 1);
    // The next one asks anew, so that a thread which comes back is found.
    await ask(port, "/livez");
    assert.equal(asked, 2);
  });

  test("cuts off what is no request, and goes on", async (context) => {
    const port = await served(context, () => Promise.resolve(reading()));
    const closedAfter = (text: string): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect(port, "127.0.0.1");
        let got = "";
        socket.setEncoding("latin1").on("data", (chunk: string) => (got += chunk));
        socket.on("error", () => undefined);
        socket.on("close", () => resolve(got));
        socket.write(text);
      });
    assert.match(await closedAfter("*1\r\n$4\r\nPING\r\n\r\n"), /^HTTP\/1\.1 400/);
    assert.match(await closedAfter(`GET /livez HTTP/1.1\r\nx: ${"y".repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431/);
    assert.equal((await ask(port, "/livez")).status, 200);
  });

  test("refuses a port that is taken", async (context) => {
    const port = await served(context, () => Promise.resolve(null));
    await assert.rejects(
      startAdminServer({ listen: `127.0.0.1:${port}`, facts, read: () => Promise.resolve(null) }),
      ListenError,
    );
  });
});
