// The write-ahead log on real files: `node bench/wal.mjs [--seconds S=3] [--directory DIR] [--durability fsync|os]`.
// Each row appends records of one size and keeps a number of them outstanding; a group is whatever came together during
// the sync before. Prints records/s, groups/s and MiB/s, and the latency of a record from append to confirmation.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openFileStorage, SystemScheduler } from "#src/platform/index.js";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    directory: { type: "string", default: tmpdir() },
    durability: { type: "string", default: "fsync" },
  },
});
const seconds = Number(values.seconds);

/** Record bytes, records outstanding. */
const rows = [
  [100, 1],
  [100, 64],
  [100, 4096],
  [4096, 1],
  [4096, 64],
  [65536, 64],
];

async function measure(recordBytes, outstanding) {
  const directory = mkdtempSync(join(values.directory, "synod-bench-"));
  const scheduler = new SystemScheduler();
  const { log } = openFileStorage({ directory, clusterId: "0".repeat(16), durability: values.durability, scheduler });
  const record = new Uint8Array(recordBytes).fill(120);
  const beganMs = new Float64Array(outstanding);
  const latencies = [];
  let appended = 0;
  let durable = 0;
  let groups = 0;
  let running = true;
  const fill = () => {
    const nowMs = performance.now();
    while (running && appended - durable < outstanding) {
      log.begin(appended + 1).copy(record, 0, recordBytes);
      beganMs[appended % outstanding] = nowMs;
      appended = log.end();
    }
    log.flush();
  };
  await new Promise((resolve, reject) =>
    log.recover(
      () => {},
      (error) => (error === null ? resolve() : reject(error)),
    ),
  );
  log.start({
    onFatal: (error) => {
      throw error;
    },
    onSegment: () => {},
    onDurable: (position) => {
      const nowMs = performance.now();
      if (latencies.length < 5_000_000) latencies.push(nowMs - beganMs[(position - 1) % outstanding]);
      durable = position;
      groups++;
      // A host trims behind its checkpoints; here, 64 MiB behind.
      if (groups % 64 === 0) log.trim(Math.max(0, durable - (64 * 1024 * 1024) / recordBytes));
      if (running) fill();
    },
  });
  const startMs = performance.now();
  fill();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  running = false;
  const elapsed = (performance.now() - startMs) / 1000;
  const done = durable;
  const counted = groups;
  await new Promise((resolve) => log.close(resolve));
  rmSync(directory, { recursive: true, force: true });
  latencies.sort((a, b) => a - b);
  const percentile = (p) => latencies[Math.min(latencies.length - 1, Math.floor(p * latencies.length))]?.toFixed(3);
  return {
    "record B": recordBytes,
    outstanding,
    "records/s": Math.round(done / elapsed),
    "groups/s": Math.round(counted / elapsed),
    "MiB/s": ((done * recordBytes) / elapsed / 1024 / 1024).toFixed(1),
    "p50 ms": percentile(0.5),
    "p99 ms": percentile(0.99),
    "max ms": latencies.at(-1)?.toFixed(1),
  };
}

const table = [];
for (const [recordBytes, outstanding] of rows) table.push(await measure(recordBytes, outstanding));
console.table(table);
