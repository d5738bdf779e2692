// CPU per command of three replicas and their load in one thread, over real sockets: what the code and the kernel's part of
// sockets cost, without waking of processes. It counts CPU and no wall time, so a busy machine falsifies it less than others.
// `npm run bench -- one-process [--clients 8] [--window 256] [--commands 60000] [--rounds 9]`.
// Durability memory, workload mixed, 20 k keys. Median and least of the rounds, each of so many commands; four go before.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { clusterChecksum, replyCount } from "../dist/model/index.js";
import { openFileStorage, SystemScheduler, TcpListener, TcpPeers } from "../dist/platform/index.js";
import {
  btreeLoadCommands,
  connectCluster,
  createReplica,
  loadOptions,
  openCluster,
  replicaDirectory,
  runLoad,
} from "../dist/runtime/index.js";
import { median } from "./rig/statistics.mjs";

const KEYS = 20_000;
const WARM_ROUNDS = 4;

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "8" },
    window: { type: "string", default: "256" },
    commands: { type: "string", default: "60000" },
    rounds: { type: "string", default: "9" },
  },
});
const clients = Number(values.clients);
const window = Number(values.window);
const commandsPerRound = Number(values.commands);
const rounds = Number(values.rounds);

const scheduler = new SystemScheduler();
const events = { info: () => undefined, warn: () => undefined, error: (event, fields) => console.error(event, fields) };
const directory = mkdtempSync(join(tmpdir(), "synod-one-process-"));
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));

const { config } = await openCluster(directory, {
  replicas: 3,
  port: 0,
  groups: 1,
  service: "btree",
  ordering: "multi-paxos",
  execution: "pipelined",
  reads: "quorum",
  durability: "memory",
});
for (const address of config.replicas) await startReplica(address);
const connection = await connectCluster({ addresses: config.replicas.map(({ client }) => client), scheduler });

let phase = "";
let answered = 0;
let roundBegan = { answered: 0, us: 0 };
let warmLeft = WARM_ROUNDS;
const figures = [];

await runLoad({
  scheduler,
  commands: btreeLoadCommands({ keys: KEYS, valueSize: 8, unique: 1 }),
  options: loadOptions({ workload: "mixed", clients, window, keys: KEYS, seconds: 3600, warmupSeconds: 0.1, seed: 1 }),
  open: (handlers) => connection.openClient({ handlers: counting(handlers) }),
  onPhase: (next) => {
    phase = next;
    roundBegan = { answered, us: cpuMicroseconds() };
  },
});

/** A replica as `synod up` would start it, in this thread and without gateways. */
async function startReplica({ id, peer, client }) {
  const { clusterId } = config;
  const storage = openFileStorage({
    directory: replicaDirectory(directory, id),
    clusterId,
    durability: "memory",
    scheduler,
    onDamaged: () => undefined,
  });
  const nonce = () => 1 + Math.floor(Math.random() * 2 ** 51);
  const peers = new TcpPeers({
    self: id,
    clusterId,
    clusterChecksum: clusterChecksum(config),
    incarnation: nonce(),
    listen: peer,
    peers: new Map(config.replicas.map((replica) => [replica.id, replica.peer])),
    seed: id,
    scheduler,
    events,
  });
  const listener = new TcpListener({ self: id, clusterId, listen: client, scheduler, events });
  await Promise.all([peers, listener].map(bound));
  createReplica({
    self: id,
    config,
    platform: { scheduler, peers, clients: [listener], events, nonce, ...storage },
    options: { seed: id },
    onFatal: (error) => {
      throw error;
    },
  }).start();
}

function bound(port) {
  return new Promise((resolve, reject) => port.listen((error) => (error === null ? resolve() : reject(error))));
}

function counting(handlers) {
  return {
    resolve: (token, replies) => {
      onAnswered(replyCount(replies.view, replies.start));
      handlers.resolve(token, replies);
    },
    fail: (token, failure) => {
      throw new Error(`block ${token} failed: ${failure}`);
    },
    opened: () => handlers.opened(),
  };
}

function onAnswered(commands) {
  answered += commands;
  const count = answered - roundBegan.answered;
  if (phase !== "measure" || count < commandsPerRound) return;
  const us = cpuMicroseconds();
  if (warmLeft > 0) warmLeft--;
  else figures.push((us - roundBegan.us) / count);
  roundBegan = { answered, us };
  if (figures.length < rounds) return;
  const least = Math.min(...figures);
  console.log(`${clients} × ${window}: ${median(figures).toFixed(3)} µs of CPU a command, least ${least.toFixed(3)}`);
  process.exit(0);
}

function cpuMicroseconds() {
  const { user, system } = process.cpuUsage();
  return user + system;
}
