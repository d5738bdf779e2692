// Records from one thread to another: through a ring of shared memory and by postMessage. ns per record; the two ways
// interleaved, fastest and median of the repetitions. Run after the build: `node bench/ring.mjs [--json]`.

import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { RingConsumer, RingProducer, createRingMemory } from "../dist/platform/index.js";

const repetitions = 5;
const warmUps = 2;
const ringRecords = 1_000_000;
const messages = 10_000;
const recordBytes = [16, 256];
const perPublish = [1, 32];

if (!isMainThread) receive();
else await measure();

/** Takes what comes over the ring or the port and says when all of it has. */
function receive() {
  const consumer = new RingConsumer(workerData);
  const visits = new Int32Array(new SharedArrayBuffer(4));
  let expected = 0;
  let received = 0;
  const poll = () => {
    let sum = 0;
    while (received < expected) {
      if (!consumer.next()) {
        // An idle consumer would sleep; under load it looks again.
        Atomics.load(visits, 0);
        continue;
      }
      sum ^= consumer.bytes[consumer.start];
      received++;
      if ((received & 63) === 0) consumer.release();
    }
    consumer.release();
    parentPort.postMessage(sum);
  };
  parentPort.on("message", (message) => {
    if (message.ring !== undefined) {
      expected = message.ring;
      received = 0;
      parentPort.postMessage("ready");
      setImmediate(poll);
    } else if (message.last) parentPort.postMessage("all");
  });
}

async function measure() {
  const memory = createRingMemory(1024 * 1024);
  const producer = new RingProducer(memory);
  const worker = new Worker(new URL(import.meta.url), { workerData: memory });
  const answer = () => new Promise((resolve) => worker.once("message", resolve));

  async function throughRing(bytes, publishEvery) {
    worker.postMessage({ ring: ringRecords });
    await answer();
    const done = answer();
    const begin = process.hrtime.bigint();
    for (let i = 0; i < ringRecords; i++) {
      let at = producer.begin(bytes);
      while (at < 0) {
        producer.publish();
        at = producer.begin(bytes);
      }
      producer.view.setUint32(at, i, true);
      producer.end(bytes);
      if (i % publishEvery === 0) producer.publish();
    }
    producer.publish();
    await done;
    return Number(process.hrtime.bigint() - begin) / ringRecords;
  }

  async function byMessage(bytes) {
    const done = answer();
    const begin = process.hrtime.bigint();
    for (let i = 0; i < messages; i++) worker.postMessage({ bytes: new Uint8Array(bytes), last: i === messages - 1 });
    await done;
    return Number(process.hrtime.bigint() - begin) / messages;
  }

  for (const bytes of recordBytes) {
    const ways = [
      ...perPublish.map((every) => [`ring, ${every} a publish`, () => throughRing(bytes, every)]),
      ["postMessage", () => byMessage(bytes)],
    ];
    const figures = ways.map(() => []);
    for (let i = -warmUps; i < repetitions; i++) {
      for (const [w, [, run]] of ways.entries()) {
        const ns = await run();
        if (i >= 0) figures[w].push(ns);
      }
    }
    for (const [w, [name]] of ways.entries()) {
      const sorted = figures[w].sort((a, b) => a - b);
      const [fastest, median] = [sorted[0], sorted[sorted.length >> 1]];
      if (process.argv.includes("--json")) {
        console.log(JSON.stringify({ bytes, name, fastest_ns: fastest, median_ns: median }));
      } else {
        console.log(
          `${String(bytes).padStart(4)} bytes  ${name.padEnd(20)} fastest ${fastest.toFixed(1).padStart(8)} ns  median ${median.toFixed(1).padStart(8)} ns`,
        );
      }
    }
  }
  await worker.terminate();
}
