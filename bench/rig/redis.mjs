// A Redis server that syncs every command, and redis-benchmark against whichever port.
import { connect } from "node:net";
import { eventually, findProgram, freePorts, removeDirectory, run, scratchDirectory, start, stop } from "./process.mjs";

export const redisPackages = { "redis-server": "redis-server", "redis-benchmark": "redis-tools" };

/** One server, append-only file synced before each reply: the only setting of Redis that loses nothing acknowledged. */
export async function startRedis() {
  const directory = scratchDirectory();
  const [port] = await freePorts(1);
  const flags = {
    bind: "127.0.0.1",
    port: String(port),
    dir: directory,
    save: "",
    daemonize: "no",
    appendonly: "yes",
    appendfsync: "always",
  };
  const server = start(
    findProgram("redis-server"),
    Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
  );
  await eventually("the start of redis-server", 10_000, () => accepts(port));
  return {
    port,
    async stop() {
      await stop(server);
      removeDirectory(directory);
    },
  };
}

function accepts(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", reject);
  });
}

/** `redis-benchmark -t set` with 50 connections; resolves with requests per second and percentiles in ms. */
export async function redisBenchmark({ port, pipeline, requests, command = "set" }) {
  const flags = { p: port, t: command, n: requests, P: pipeline, c: 50, r: 1_000_000 };
  const args = Object.entries(flags).flatMap(([name, value]) => [`-${name}`, String(value)]);
  const [head, row] = (await run(findProgram("redis-benchmark"), [...args, "--csv"])).filter((line) =>
    line.startsWith('"'),
  );
  const cells = (line) => line.split(",").map((cell) => cell.replaceAll('"', ""));
  const values = cells(row);
  const of = (name) => Number(values[cells(head).indexOf(name)]);
  return { throughput: of("rps"), p50: of("p50_latency_ms"), p99: of("p99_latency_ms") };
}
