// @ts-check
/** Sends orders to warehouses that are of different groups, and counts the pieces: `node examples/stock/main.js`. */
import { startCluster } from "synod";
import { stock } from "./stock.js";

const WAREHOUSES = ["Oslo", "Rome", "Lima", "Bonn", "Cairo", "Quito", "Hanoi", "Tunis"];
const ORDERS = 600;

const cluster = await startCluster({ service: stock, replicas: 1, groups: 2, execution: "opt-psmr" });
const { client } = cluster;

await Promise.all(WAREHOUSES.map((warehouse, i) => client.supply({ warehouse, pieces: 100 + 50 * i })));

// Every order names its warehouse, and two others in case that has too little.
const used = [0, 0, 0, 0];
await Promise.all(
  Array.from({ length: ORDERS }, async (_, i) => {
    const [warehouse = "", ...others] = [0, 1, 2].map((step) => WAREHOUSES[(i + step) % WAREHOUSES.length] ?? "");
    try {
      const warehouses = await client.order({ warehouse, others, pieces: 1 + (i % 6) });
      used[warehouses] = (used[warehouses] ?? 0) + 1;
    } catch {
      used[0] = (used[0] ?? 0) + 1;
    }
  }),
);
console.log(
  `${used[1]} orders from one warehouse, ${(used[2] ?? 0) + (used[3] ?? 0)} from several, ${used[0]} refused`,
);

const { there, sent, supplied } = await client.totals();
const fits = there + sent === supplied;
console.log(fits ? `all ${supplied} pieces are there or were sent` : `${there} + ${sent} pieces, of ${supplied}`);
await cluster.stop();
process.exitCode = fits ? 0 : 1;
