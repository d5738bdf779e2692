// One client process of `npm run bench -- etcd`: keeps so many puts outstanding, each acknowledged on its own, the next one
// sent when one is answered; 8-byte keys and values. Arguments: address, outstanding, keys, seconds. Prints one JSON line.
import { EtcdClient } from "./etcd.mjs";
import { percentile } from "./statistics.mjs";

const WARM_UP_MS = 1000;
const [address, ...numbers] = process.argv.slice(2);
const [outstanding, keys, seconds] = numbers.map(Number);

const client = new EtcdClient(address);
const puts = Array.from({ length: keys }, (_, i) =>
  EtcdClient.put(Buffer.from(`k${String(i).padStart(7, "0")}`), Buffer.from("xxxxxxxx")),
);

/** Sends `count` puts, `outstanding` at a time; rejects at the first that fails. */
function preload() {
  return new Promise((resolve, reject) => {
    let next = 0;
    let answered = 0;
    const send = () => {
      if (next === keys) return;
      client.put(puts[next++], (acknowledged) => {
        if (!acknowledged) return reject(new Error("a put of the preload failed"));
        if (++answered === keys) resolve();
        send();
      });
    };
    for (let i = 0; i < Math.max(outstanding, 64); i++) send();
  });
}

async function measure() {
  const latencies = [];
  let errors = 0;
  let counting = false;
  let ended = false;
  const send = () => {
    const submitted = performance.now();
    client.put(puts[Math.floor(Math.random() * keys)], (acknowledged) => {
      if (!acknowledged) errors++;
      else if (counting) latencies.push(performance.now() - submitted);
      if (!ended) send();
    });
  };
  for (let i = 0; i < outstanding; i++) send();
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
  const cpu = process.cpuUsage();
  const began = performance.now();
  counting = true;
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  counting = false;
  ended = true;
  const elapsed = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const commands = latencies.length;
  return {
    throughput: commands / elapsed,
    latency_ms: { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) },
    commands,
    errors,
    cpu_s_per_million: { client: (user + system) / commands },
  };
}

await preload();
console.log(JSON.stringify(await measure()));
process.exit(0);
