// A user-defined service alone, without ordering or network: ns per command through decoding, keys, tables, undo and
// encoding. Run after the build: `node bench/define.mjs [--json] [keys]`. Keys are 12 characters, values numbers.

import { ByteWriter } from "../dist/base/index.js";
import { emptyRun } from "../dist/model/index.js";
import { commandNumber, definedService, defineService, table, writeValue } from "../dist/service/index.js";

const commandsPerRun = 512;
const runs = 100;
const repetitions = 9;
const json = process.argv.includes("--json");
const keys = Number(process.argv.slice(2).find((argument) => /^\d+$/.test(argument)) ?? 100_000);

const bank = defineService({
  name: "bank",
  tables: { accounts: table() },
  commands: {
    deposit: {
      keys: (a) => [a.to],
      execute: ({ accounts }, a) => {
        const balance = (accounts.get(a.to) ?? 0) + a.amount;
        accounts.set(a.to, balance);
        return balance;
      },
    },
    transfer: {
      keys: (a) => [a.from, a.to],
      execute: ({ accounts }, a) => {
        accounts.set(a.to, (accounts.get(a.to) ?? 0) + a.amount);
        accounts.set(a.from, (accounts.get(a.from) ?? 0) - a.amount);
      },
    },
    refused: {
      keys: (a) => [a.to],
      execute: ({ accounts }, a) => {
        accounts.set(a.to, 0);
        throw new Error("no");
      },
    },
    balance: { read: true, keys: (a) => [a.of], execute: ({ accounts }, a) => accounts.get(a.of) ?? 0 },
  },
});

let state = 12345;
const pick = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return `account${String(Math.floor((state / 4294967296) * keys)).padStart(7, "0")}`;
};

function encode(name, makeArgument, count = runs) {
  return Array.from({ length: count }, (_, r) => {
    const writer = new ByteWriter(64 * 1024);
    const run = emptyRun();
    run.offsets = new Uint32Array(commandsPerRun);
    for (let i = 0; i < commandsPerRun; i++) {
      const at = writer.skip(8);
      run.offsets[i] = at;
      writer.view.setUint32(at + 4, commandNumber(name), true);
      writeValue(writer, makeArgument(r * commandsPerRun + i));
      writer.view.setUint32(at, writer.length - at, true);
    }
    run.bytes = writer.toBytes();
    run.view = new DataView(run.bytes.buffer);
    run.count = commandsPerRun;
    return run;
  });
}

const service = definedService(bank).create();
const replies = new ByteWriter(1024 * 1024);
function execute(list) {
  for (const run of list) {
    replies.clear();
    service.execute(run, replies, null);
  }
  return list.length * commandsPerRun;
}

const rows = [];
function measure(name, list) {
  const figures = [];
  for (let i = 0; i < repetitions; i++) {
    const before = process.cpuUsage();
    const commands = execute(list);
    const used = process.cpuUsage(before);
    figures.push(((used.user + used.system) * 1000) / commands);
  }
  figures.sort((a, b) => a - b);
  const row = { keys, name, fastest_ns: Math.round(figures[0]), median_ns: Math.round(figures[repetitions >> 1]) };
  rows.push(row);
  if (!json)
    console.log(`${name.padEnd(10)} fastest ${row.fastest_ns} ns of CPU a command, median ${row.median_ns} ns`);
}

const filled = encode(
  "deposit",
  (i) => ({ to: `account${String(i % keys).padStart(7, "0")}`, amount: 1000 }),
  Math.ceil(keys / commandsPerRun),
);
const before = process.cpuUsage();
execute(filled);
const used = process.cpuUsage(before);
const insert = Math.round(((used.user + used.system) * 1000) / keys);
rows.push({ keys, name: "insert", fastest_ns: insert, median_ns: insert });
if (!json) console.log(`${"insert".padEnd(10)} ${insert} ns of CPU a command, while it fills`);
measure(
  "deposit",
  encode("deposit", () => ({ to: pick(), amount: 1 })),
);
measure(
  "transfer",
  encode("transfer", () => ({ from: pick(), to: pick(), amount: 1 })),
);
measure(
  "refused",
  encode("refused", () => ({ to: pick() })),
);
measure(
  "balance",
  encode("balance", () => ({ of: pick() })),
);
if (json) console.log(JSON.stringify({ rows }));
