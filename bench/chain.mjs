// The floor under one command at a time: four bare processes pass 200 bytes along the same sockets as a client, a
// coordinator and two followers do, and do nothing else. `npm run bench -- chain [--runs 5] [--rounds 8000]`
// Prints the p50 and p99 of a plain echo (one round trip) and of the chain (client → coordinator → two followers →
// coordinator at the first answer → client), interleaved.
import { fork } from "node:child_process";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { summary } from "./rig/statistics.mjs";

const self = fileURLToPath(import.meta.url);
const MESSAGE_BYTES = 200;

function listen(onConnection) {
  const server = createServer({ noDelay: true }, onConnection);
  server.listen(0, "127.0.0.1", () => process.send(server.address().port));
  process.on("disconnect", () => process.exit(0));
}

function follower() {
  listen((socket) => socket.on("data", (bytes) => socket.write(bytes)));
}

function coordinator(ports) {
  let client = null;
  // Both followers answer each round; the first answer is a majority together with the coordinator's own.
  const answered = [0, 0];
  const followers = ports.map((port, index) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.on("data", (bytes) => {
      const rounds = bytes.length / MESSAGE_BYTES;
      const before = Math.max(...answered);
      answered[index] += rounds;
      if (answered[index] > before) client.write(bytes.subarray(0, (answered[index] - before) * MESSAGE_BYTES));
    });
    return socket;
  });
  listen((socket) => {
    client = socket;
    socket.on("data", (bytes) => {
      for (const peer of followers) peer.write(bytes);
    });
  });
}

function start(role, ...ports) {
  return new Promise((resolve) => {
    const child = fork(self, ["--role", role, ...ports.map(String)]);
    child.once("message", (port) => resolve({ child, port }));
  });
}

/** Latencies in µs of `rounds` messages, one at a time, the first tenth left out, ascending. */
function measure(port, rounds) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const message = Buffer.alloc(MESSAGE_BYTES, 1);
    const latencies = [];
    let sentAt = 0;
    let got = 0;
    const send = () => {
      sentAt = performance.now();
      socket.write(message);
    };
    socket.on("connect", send);
    socket.on("data", (bytes) => {
      got += bytes.length;
      if (got < MESSAGE_BYTES) return;
      got = 0;
      latencies.push((performance.now() - sentAt) * 1000);
      if (latencies.length < rounds) return send();
      socket.destroy();
      resolve(latencies.slice(rounds / 10).sort((a, b) => a - b));
    });
  });
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    role: { type: "string" },
    runs: { type: "string", default: "5" },
    rounds: { type: "string", default: "8000" },
  },
});

if (values.role === "follower") follower();
else if (values.role === "coordinator") coordinator(positionals.map(Number));
else {
  const followers = [await start("follower"), await start("follower")];
  const leader = await start("coordinator", ...followers.map(({ port }) => port));
  const echoes = [];
  const chains = [];
  for (let i = 0; i < Number(values.runs); i++) {
    echoes.push(await measure(followers[0].port, Number(values.rounds)));
    chains.push(await measure(leader.port, Number(values.rounds)));
  }
  const quantile = (runs, q) => summary(runs.map((sorted) => sorted[Math.floor(sorted.length * q)]));
  console.log("| | p50 µs, median (min..max) | p99 µs |\n|---|---|---|");
  for (const { name, runs } of [
    { name: "echo", runs: echoes },
    { name: "chain", runs: chains },
  ]) {
    const p50 = quantile(runs, 0.5);
    const { median } = quantile(runs, 0.99);
    console.log(
      `| ${name} | ${p50.median.toFixed(0)} (${p50.min.toFixed(0)}..${p50.max.toFixed(0)}) | ${median.toFixed(0)} |`,
    );
  }
  for (const { child } of [leader, ...followers]) child.disconnect();
}
