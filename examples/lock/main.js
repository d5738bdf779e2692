// @ts-check
/** Workers share a resource that only one may use at a time; one of them dies holding the lock: `node examples/lock/main.js`. */
import { setTimeout as delay } from "node:timers/promises";
import { connect, startCluster } from "synod";
import { lock } from "./lock.js";

const WORKERS = 5;
const ROUNDS = 4;
const LEASE_MS = 400;

const cluster = await startCluster({ service: lock, replicas: 3 });

/** What the lock protects: it takes no order from who holds an older token than the newest it has seen. */
const printer = {
  token: 0,
  busy: false,
  /** @type {string[]} */
  pages: [],
  /** @param {number} token @param {string} page */
  async print(token, page) {
    if (token < this.token) throw new Error(`token ${token} is fenced off by ${this.token}`);
    if (this.busy) throw new Error("two print at once");
    this.token = token;
    this.busy = true;
    await delay(2);
    this.pages.push(page);
    this.busy = false;
  },
};

/** @param {string} owner */
async function worker(owner) {
  const client = await connect({ addresses: cluster.addresses, service: lock });
  for (let round = 0; round < ROUNDS; round++) {
    const token = await acquired(client, owner);
    await printer.print(token, `${owner} page ${round}`);
    // The first worker dies at its first page, with the lock in its hand.
    if (owner === "worker-0") return client.close();
    await client.release({ name: "printer", token });
  }
  await client.close();
}

/** @param {typeof cluster.client} client @param {string} owner @returns {Promise<number>} */
async function acquired(client, owner) {
  for (;;) {
    const { granted, token } = await client.acquire({ name: "printer", owner, leaseMs: LEASE_MS });
    if (granted) return token;
    await delay(20);
  }
}

const workers = Array.from({ length: WORKERS }, (_, i) => worker(`worker-${i}`));
await cluster.replicas[0]?.kill();
console.log("killed replica 1 while the workers print");
await Promise.all(workers);

const expected = 1 + (WORKERS - 1) * ROUNDS;
console.log(`${printer.pages.length} of ${expected} pages, one at a time, the last with token ${printer.token}`);
console.log(`the lock is held by ${(await cluster.client.holder({ name: "printer" })) ?? "nobody"}`);
await cluster.stop();
process.exitCode = printer.pages.length === expected ? 0 : 1;
