// TLS against plain connections, the same load in turn on two clusters of three replicas: `node bench/tls.mjs [pairs] [seconds]`.
// One has TLS 1.3 on every link and a login on every client, the other nothing. Prints the ratio of throughputs and of the
// CPU time a command costs, replicas and client together; the budget is 0.6 × the plain throughput. Needs openssl.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { freePorts } from "../dist/runtime/index.js";

const pairs = Number(process.argv[2] ?? 5);
const seconds = process.argv[3] ?? "4";
const program = join(dirname(fileURLToPath(import.meta.url)), "..", "bin", "synod");
const directory = mkdtempSync(join(tmpdir(), "synod-bench-tls-"));
const children = [];

const run = (...args) =>
  execFileSync(process.execPath, [program, ...args], {
    encoding: "utf8",
    env: { ...process.env, SYNOD_PASSWORD: "x" },
  });
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

async function start(secured) {
  const home = join(directory, secured ? "tls" : "plain");
  execFileSync("mkdir", [home]);
  const file = join(home, "cluster.json");
  run("config", "new", "--cluster", file, "--host", "127.0.0.1", "--host", "127.0.0.2", "--host", "127.0.0.3");
  const config = JSON.parse(readFileSync(file, "utf8"));
  const ports = await freePorts(12);
  for (const replica of config.replicas) {
    for (const port of ["peer", "client", "resp", "admin"]) replica[port] = `127.0.0.1:${ports.pop()}`;
  }
  if (!secured) delete config.security;
  writeFileSync(file, JSON.stringify(config));
  if (secured) run("certificates", "--cluster", file);
  const data = join(home, "data");
  for (const { id } of config.replicas) run("init", String(id), "--cluster", file, "--data", data);
  const started = config.replicas.map(({ id }) => {
    const child = spawn(process.execPath, [program, "replica", String(id), "--data", data, "--json"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    children.push(child);
    return new Promise((resolve) => createInterface(child.stdout).once("line", resolve));
  });
  await Promise.all(started);
  return data;
}

function measure(data, load) {
  const report = JSON.parse(run("bench", "--data", data, ...load, "--seconds", seconds, "--keys", "20000", "--json"));
  const cpu = report.cpu_s_per_million;
  return { throughput: report.throughput, cpu: cpu.replicas + cpu.client, p50: report.latency_ms.p50 };
}

try {
  const [plain, secured] = [await start(false), await start(true)];
  for (const [name, load] of [
    ["2048 outstanding, mixed", ["--clients", "4", "--window", "512", "--workload", "mixed"]],
    [
      "64 outstanding, puts of 1 KiB",
      ["--clients", "1", "--window", "64", "--workload", "put", "--value-size", "1024"],
    ],
    ["1 outstanding, puts", ["--clients", "1", "--window", "1", "--workload", "put"]],
  ]) {
    const measured = [];
    for (let i = 0; i < pairs; i++) {
      const order = i % 2 === 0 ? [plain, secured] : [secured, plain];
      const results = new Map(order.map((data) => [data, measure(data, load)]));
      measured.push({ plain: results.get(plain), tls: results.get(secured) });
    }
    const ratio = (key) => median(measured.map(({ plain: p, tls: t }) => t[key] / p[key])).toFixed(2);
    const of = (kind, key) => Math.round(median(measured.map((pair) => pair[kind][key])));
    console.log(
      `${name.padEnd(30)} plain ${of("plain", "throughput")}/s, TLS ${of("tls", "throughput")}/s: ` +
        `throughput × ${ratio("throughput")}, CPU per command × ${ratio("cpu")}, p50 × ${ratio("p50")}`,
    );
  }
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
}
