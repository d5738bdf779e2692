// Frames per second over one loopback connection, coalesced by turn as hosts do: `node bench/transport.mjs [seconds]`.
// Both ends run in this process, so a figure is what one core can send and receive.

import { SystemScheduler, TcpDialler, TcpListener, createMemoryLink, checksum } from "../dist/platform/index.js";

const seconds = Number(process.argv[2] ?? 1);
const scheduler = new SystemScheduler();
const events = { info() {}, warn() {}, error() {} };
const clusterId = "0123456789abcdef";
const silent = { onLink() {}, onFrame() {}, onDrain() {} };

const closed = (port) => new Promise((resolve) => port.close(resolve));
const up = (port, handlers) =>
  new Promise((resolve) => port.start({ ...silent, ...handlers, onLink: (link, isUp) => isUp && resolve(link) }));

async function tcpPair(atServer, atClient) {
  const server = new TcpListener({ scheduler, events, self: 1, clusterId, listen: "127.0.0.1:0" });
  const address = await new Promise((resolve) => server.listen((_error, at) => resolve(at)));
  const client = new TcpDialler({ scheduler, events, clusterId, addresses: [address], seed: 1 });
  const [serverLink, clientLink] = await Promise.all([up(server, atServer), up(client, atClient)]);
  return { server, client, serverLink, clientLink };
}

async function memoryPair(atServer, atClient) {
  const { dialler: client, listener: server } = createMemoryLink(scheduler);
  const [serverLink, clientLink] = await Promise.all([up(server, atServer), up(client, atClient)]);
  return { server, client, serverLink, clientLink };
}

/** Sends bodies of one size as fast as the port takes them, a turn at a time. */
async function stream(pair, bodyBytes, perTurn) {
  const body = new Uint8Array(bodyBytes);
  let received = 0;
  const { server, client, clientLink } = await pair({ onFrame: () => received++ }, {});
  const until = performance.now() + seconds * 1000;
  const started = performance.now();
  await new Promise((resolve) => {
    const turn = () => {
      for (let i = 0; i < perTurn; i++) {
        const writer = client.begin(clientLink, 1);
        if (writer === null) break;
        writer.copy(body, 0, bodyBytes);
        client.end();
      }
      client.flush();
      if (performance.now() < until) setImmediate(turn);
      else resolve();
    };
    turn();
  });
  const elapsed = (performance.now() - started) / 1000;
  await closed(client);
  await closed(server);
  return { framesPerSecond: received / elapsed, mebibytesPerSecond: (received * (bodyBytes + 24)) / elapsed / 2 ** 20 };
}

/** One frame there and back at a time. */
async function pingPong(pair) {
  let turns = 0;
  const ports = {};
  const answer = (port, link) => {
    port.begin(link, 1).u32(turns);
    port.end();
    port.flush();
  };
  const running = await pair(
    { onFrame: (link) => answer(ports.server, link) },
    {
      onFrame: (link) => {
        turns++;
        if (!ports.stopped) answer(ports.client, link);
      },
    },
  );
  Object.assign(ports, running);
  const started = performance.now();
  answer(running.client, running.clientLink);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const elapsed = performance.now() - started;
  ports.stopped = true;
  await closed(running.client);
  await closed(running.server);
  return { microseconds: (elapsed * 1000) / turns };
}

function checksumSpeed(bytes) {
  const data = new Uint8Array(bytes).fill(7);
  const rounds = Math.ceil(2e7 / (bytes + 100));
  let sum = 0;
  for (let i = 0; i < rounds; i++) sum ^= checksum(data, 0, bytes);
  const started = performance.now();
  for (let i = 0; i < rounds; i++) sum ^= checksum(data, 0, bytes);
  return { nanoseconds: ((performance.now() - started) * 1e6) / rounds, sum };
}

const print = (name, figures) => {
  const text = Object.entries(figures).map(([unit, value]) => `${Math.round(value).toLocaleString("en")} ${unit}`);
  console.log(`${name.padEnd(36)} ${text.join("  ")}`);
};
for (const bytes of [24, 64, 128, 129, 1024]) {
  print(`checksum of ${bytes} bytes`, { nanoseconds: checksumSpeed(bytes).nanoseconds });
}
for (const { name, pair } of [
  { name: "tcp", pair: tcpPair },
  { name: "memory", pair: memoryPair },
]) {
  print(`${name}: body 16, 1 per turn`, await stream(pair, 16, 1));
  print(`${name}: body 16, 1000 per turn`, await stream(pair, 16, 1000));
  print(`${name}: body 256, 200 per turn`, await stream(pair, 256, 200));
  print(`${name}: body 64 KiB, 8 per turn`, await stream(pair, 65_536, 8));
  print(`${name}: body 1 MiB, 2 per turn`, await stream(pair, 1_048_576, 2));
  print(`${name}: ping-pong`, await pingPong(pair));
}
