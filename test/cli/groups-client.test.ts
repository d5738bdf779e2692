/** Clients of TypeScript over a cluster of processes with groups, while replicas, and so leaders of streams, die and return. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { IndeterminateError, SessionExpiredError, TryAgainError } from "#src/model/index.js";
import { connect, type KvClient } from "#src/runtime/index.js";
import { synod, temporaryDirectory } from "./synod-process.js";

const KEYS = 24;
const keys = Array.from({ length: KEYS }, (_, index) => `counter-${index}`);
/** Rounds of each worker before, during and after a replica is away. */
const ROUNDS = 25;

/** What workers know of the counters: how often each was certainly incremented, and how often perhaps. */
class Ledger {
  readonly certain = new Map<string, number>();
  readonly perhaps = new Map<string, number>();
  answered = 0;

  note(names: readonly string[], counts: Map<string, number>): void {
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
}

async function work(store: KvClient, ledger: Ledger, prng: Prng): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const name = prng.pick(keys);
    // Written together, always: whoever reads them together sees them equal, however many groups they are in.
    if (prng.chance(0.2)) {
      const value = `${round}-${prng.u32()}`;
      const pairs = ["pair-a", "pair-b", "pair-c"].map((key): [string, string] => [key, value]);
      const [read] = await Promise.allSettled([store.getMany(["pair-c", "pair-a", "pair-b"]), store.setMany(pairs)]);
      if (read.status === "fulfilled")
        assert.equal(new Set(read.value).size, 1, `a write was seen by half: ${read.value.join()}`);
      continue;
    }
    try {
      // Two calls that do not wait for each other, of one group and order, and then one behind them.
      const [first, second] = await Promise.all([store.incrementBy(name), store.incrementBy(name)]);
      assert.ok(second > first);
      ledger.note([name, name], ledger.certain);
      const value = await store.get(name);
      assert.ok(BigInt(value ?? 0) >= second, `${name} was ${value} after ${second}`);
      ledger.answered++;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      // Which of the two it was is not worth telling apart: each of them happened once or not at all.
      const known = [IndeterminateError, TryAgainError, SessionExpiredError].some((each) => error instanceof each);
      assert.ok(known, String(error));
      ledger.note([name, name], ledger.perhaps);
    }
  }
}

describe("clients of a cluster with two groups", () => {
  test("apply every call once, and see writes over several groups whole, while each replica dies and comes back", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", "--groups", "2", "--execution", "psmr"]);
    const replicas = await up.ready();
    const stores = await Promise.all(
      replicas.map(({ client }) => connect({ addresses: [client], deadlineMs: 20_000 })),
    );
    t.after(() => Promise.all(stores.map((store) => store.close())));
    const ledger = new Ledger();
    const prng = new Prng(1);
    const round = async (meanwhile: () => Promise<void>): Promise<void> => {
      const workers = stores.flatMap((store, index) => {
        return [0, 1].map((each) => work(store, ledger, prng.fork(`worker ${index} ${each}`)));
      });
      await Promise.all([...workers, meanwhile()]);
    };
    for (const { id, pid } of replicas.slice(0, 2)) {
      await round(async () => {
        process.kill(pid, "SIGKILL");
        await up.line((line) => line["event"] === "died" && line["id"] === id);
      });
      const back = synod(t, ["replica", String(id), "--data", data, "--json"]);
      await round(async () => void (await back.ready()));
    }
    const read = async (store: KvClient): Promise<(string | null)[]> => store.getMany(keys);
    const values = await read(stores[0] as KvClient);
    for (const store of stores.slice(1)) assert.deepEqual(await read(store), values);
    for (const [index, name] of keys.entries()) {
      const value = Number(values[index] ?? 0);
      const certain = ledger.certain.get(name) ?? 0;
      const perhaps = ledger.perhaps.get(name) ?? 0;
      assert.ok(
        value >= certain && value <= certain + perhaps,
        `${name}: ${certain} ≤ ${value} ≤ ${certain + perhaps}`,
      );
    }
    assert.ok(ledger.answered > ROUNDS, `only ${ledger.answered} rounds were answered`);
  });
});
