/** What a replica makes of its directory when the disk has lost or changed a part of it: the table of docs/operations.md. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ask, bulk, request } from "./raw-resp.js";
import { finished, gone, type ReplicaEntry, synod, type SynodProcess, temporaryDirectory } from "./synod-process.js";

const VICTIM = 2;
/** "SYWL", with which every batch of the log begins, four bytes after its checksum. */
const BATCH_MAGIC = 0x4c575953;

interface Case {
  readonly what: string;
  readonly damage: (home: string) => void;
  /** Only another start has noted how much log there is. */
  readonly restarted?: true;
  /** Why it may have forgotten votes; null if it knows which it may have forgotten, and goes on as a voter. */
  readonly reason: RegExp | null;
}

const cases: readonly Case[] = [
  {
    what: "the log directory is gone, the identity is there",
    damage: (home) => rmSync(join(home, "log"), { recursive: true }),
    reason: /its log is gone/,
  },
  {
    what: "the segments of the log are gone, its directory is there",
    restarted: true,
    damage: (home) => {
      for (const name of segments(home)) rmSync(join(home, "log", name));
    },
    reason: /its log ends before what it held when the replica last started/,
  },
  {
    what: "a value in the middle of the log is damaged",
    damage: (home) => {
      damageBatch(home, (batches) => {
        const values = batches.slice(1, -2).filter(({ factual }) => !factual);
        return values[values.length >> 1];
      });
    },
    reason: null,
  },
  {
    what: "the head of the last segment of the log is damaged",
    damage: (home) => damageBatch(home, (batches) => batches[0]),
    reason: /its log is damaged before a position that was synced/,
  },
  {
    what: "the identity is damaged",
    damage: (home) => {
      const path = join(home, "identity");
      const bytes = readFileSync(path);
      flip(bytes, bytes.indexOf('"started"') + 12);
      writeFileSync(path, bytes);
    },
    reason: /its identity file is damaged/,
  },
  {
    what: "the whole directory is gone",
    damage: (home) => rmSync(home, { recursive: true }),
    reason: /its directory is new to an existing cluster/,
  },
];

const segments = (home: string): string[] =>
  readdirSync(join(home, "log"))
    .filter((name) => name.startsWith("segment-"))
    .sort();

interface Batch {
  readonly at: number;
  /** It holds more than values; `batch-format.ts` says where that stands. */
  readonly factual: boolean;
}

/** Flips a bit of one of the batches of the last segment. */
function damageBatch(home: string, choose: (batches: readonly Batch[]) => Batch | undefined): void {
  const path = join(home, "log", segments(home).at(-1) as string);
  const bytes = readFileSync(path);
  const batches: Batch[] = [];
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    if (bytes.readUInt32LE(at + 4) === BATCH_MAGIC) batches.push({ at, factual: bytes.readUInt16LE(at + 10) === 1 });
  }
  assert(batches.length > 3, `${batches.length} batches`);
  const chosen = choose(batches);
  assert(chosen !== undefined, JSON.stringify(batches));
  flip(bytes, chosen.at + 100);
  writeFileSync(path, bytes);
}

function flip(bytes: Buffer, at: number): void {
  bytes[at] = (bytes[at] as number) ^ 1;
}

test("DESIGN section 6, rule 1: what may have lost votes says so, gets back what it lost or rejoins, and loses nothing", async (t) => {
  const data = join(temporaryDirectory(t), "data");
  const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
  const replicas = await up.ready();
  const [first, victim] = replicas as [ReplicaEntry, ReplicaEntry];
  let { pid } = victim;
  const restart = async (): Promise<SynodProcess> => {
    const replica = synod(t, ["replica", String(VICTIM), "--data", data, "--json"]);
    await replica.ready();
    pid = replica.child.pid as number;
    return replica;
  };
  const kill = async (): Promise<void> => {
    process.kill(pid, "SIGKILL");
    await gone(pid);
  };
  for (const [index, { what, restarted, damage, reason }] of cases.entries()) {
    if (restarted === true) {
      await kill();
      await restart();
    }
    for (let i = 0; i < 20; i++) {
      assert.equal(await ask(first.resp, request("SET", `key-${index}-${i}`, what), "+OK\r\n"), "+OK\r\n");
    }
    await kill();
    damage(join(data, `replica-${VICTIM}`));
    const replica = await restart();
    if (reason === null) {
      assert.match(replica.stderr, /damaged records are replaced by those of the others/, what);
      assert.doesNotMatch(replica.stderr, /rejoins as a non-voter/, what);
    } else {
      assert.match(replica.stderr, /rejoins as a non-voter/, what);
      assert.match(replica.stderr, reason, what);
    }
    assert.match(replica.stderr, /no promises yet/, what);
    assert.equal(await ask(victim.resp, request("GET", `key-${index}-7`), bulk(what)), bulk(what), what);
    const status = await finished(t, ["status", "--data", data, "--json"]);
    assert.equal(status.code, 0, status.stderr);
    const standings = status.lines[0]?.["replicas"] as readonly { readonly role: string; readonly digest: unknown }[];
    for (const { role, digest } of standings) {
      assert.match(role, /leader|follower/, what);
      assert.deepEqual(digest, standings[0]?.digest, what);
    }
  }
});
