// @ts-check
/** Moves money between accounts while every replica in turn is killed, and counts the money: `node examples/bank/main.js`. */
import { IndeterminateError, startCluster } from "synod";
import { bank } from "./bank.js";

const ACCOUNTS = 20;
const CENTS = 10_000;

const cluster = await startCluster({ service: bank, replicas: 3 });
const { client } = cluster;
console.log(`three replicas: processes ${cluster.replicas.map(({ pid }) => pid).join(", ")}`);

const names = Array.from({ length: ACCOUNTS }, (_, i) => `account-${i}`);
await Promise.all(names.map((account) => client.open({ account, cents: CENTS })));

let moved = 0;
let refused = 0;
let unknown = 0;
let open = true;

/** One customer after the other sends money to somebody; ten of them at a time. */
async function customers() {
  while (open) {
    const [from = "", to = ""] = [pick(), pick()];
    try {
      await client.transfer({ from, to, cents: 1 + Math.floor(Math.random() * CENTS) });
      moved++;
    } catch (error) {
      // What was refused was not done. What is indeterminate was done or not, and not by half.
      if (error instanceof IndeterminateError) unknown++;
      else refused++;
    }
  }
}
const pick = () => names[Math.floor(Math.random() * ACCOUNTS)];
const all = Promise.all(Array.from({ length: 10 }, customers));

for (const replica of cluster.replicas) {
  await replica.kill();
  console.log(`killed replica ${replica.id}; the other two hold ${await client.total()} cents`);
  await replica.start();
}
open = false;
await all;

console.log(`${moved} transfers done, ${refused} refused, ${unknown} unknown`);
const [last] = await client.statement({ account: "account-0" });
if (last !== undefined) console.log(`account-0: ${last.cents} cents, ${last.cents > 0 ? "from" : "to"} ${last.other}`);
const total = await client.total();
console.log(total === ACCOUNTS * CENTS ? `all ${total} cents are there` : `${total} cents: money was lost or made`);
await cluster.stop();
process.exitCode = total === ACCOUNTS * CENTS ? 0 : 1;
