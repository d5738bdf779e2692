import type { Prng } from "#src/base/index.js";
import { connectBlockClient, PromiseClient, ZipfianRanks } from "#src/runtime/index.js";
import {
  BTREE_COMMAND_BYTES,
  BtreeOperation,
  REPLY_VALUE_HEADER_BYTES,
  ReplyKind,
  replyValueKind,
} from "#src/service/index.js";
import { SystemScheduler } from "#src/platform/index.js";
import { KeyLives } from "./key-lives.js";
import { type Answer, type LoadInit, opened, RecordedLoad } from "./recorded-load.js";

/** Keys of the Zipfian law, of which the most popular draws a fifth of the commands. */
const KEYS = 100;
/** Groups of three neighbouring keys that are read by ranges. */
const GROUPS = 4;
const GROUP_KEYS = 3;
const GROUP_USES_MAX = 300;
/** Commands that a client has outstanding. */
const LANES = 4;
/** Lanes of the first client that use groups; more at once make the search for an order long. */
const GROUP_LANES = 3;
const DEADLINE_MS = 5000;
/** Keys that no history records: they make leaves split, merge and borrow around those that it does. */
const FILLING_KEYS = 200_000;
const READ_AT_ONCE = 200;

/** Where a key stands: upper and lower word. Those of the history are far apart, and filling lies between any two. */
type TreeKey = readonly [high: number, low: number];

/**
 * The ordered map through native clients: YCSB's workload A (reads and updates of Zipfian keys, half and half) with
 * insertions and deletions, ranges over neighbouring keys, and filling that reshapes the tree. Named in the history as the
 * Redis commands which they amount to; a range is a read of every key of the history that lies in it.
 */
export class BtreeLoad extends RecordedLoad {
  readonly #keys = new KeyLives("b", KEYS);
  readonly #groups = new KeyLives("g", GROUPS, GROUP_USES_MAX);
  #serial = 0;

  constructor(init: LoadInit) {
    super(init);
  }

  protected async run(client: string, prng: Prng, index: number): Promise<void> {
    const calls = await this.#open(index);
    if (calls === null) return;
    await Promise.all(
      Array.from({ length: LANES }, (_, lane) =>
        this.#lane(calls, `${client}.${lane}`, prng.fork(`lane ${lane}`), index === 0 && lane < GROUP_LANES),
      ),
    );
    await calls.close();
  }

  async #lane(calls: PromiseClient, client: string, prng: Prng, groups: boolean): Promise<void> {
    const ranks = new ZipfianRanks(prng, KEYS);
    while (!this.stopping) {
      if (groups && prng.chance(0.4)) await this.#group(calls, client, prng);
      else if (prng.chance(0.25)) await this.#fill(calls, prng);
      else await this.#single(calls, client, prng, this.#keys.use(ranks.next()));
      await this.pause(prng);
    }
  }

  #single(calls: PromiseClient, client: string, prng: Prng, name: string): Promise<void> {
    const draw = prng.below(100);
    const value = ++this.#serial;
    if (draw < 45) return this.#do(calls, client, "get", [name], BtreeOperation.read);
    if (draw < 80) return this.#do(calls, client, "set", [name, value, "XX"], BtreeOperation.update, value);
    if (draw < 93) return this.#do(calls, client, "setnx", [name, value], BtreeOperation.insert, value);
    return this.#do(calls, client, "del", [name], BtreeOperation.delete);
  }

  async #group(calls: PromiseClient, client: string, prng: Prng): Promise<void> {
    const group = this.#groups.use(prng.below(GROUPS));
    const names = Array.from({ length: GROUP_KEYS }, (_, index) => `${group}:${index}`);
    if (prng.chance(0.6)) return this.#single(calls, client, prng, prng.pick(names));
    const [high, low] = treeKey(names[0] as string);
    const [, last] = treeKey(names.at(-1) as string);
    const ask = (): Promise<Answer> =>
      this.answerOf(
        call(calls, BtreeOperation.range, [low, high, last, high, GROUP_KEYS], (view, at) => {
          const found = new Map<number, string>();
          const pairs = at + REPLY_VALUE_HEADER_BYTES;
          for (let i = 0; i < view.getUint32(pairs, true); i++) {
            const pair = pairs + 4 + 16 * i;
            found.set(view.getUint32(pair, true), String(view.getUint32(pair + 8, true)));
          }
          return names.map((name) => found.get(treeKey(name)[1]) ?? null);
        }),
      );
    await this.perform(client, "mget", names, ask);
  }

  async #fill(calls: PromiseClient, prng: Prng): Promise<void> {
    const high = Math.floor((prng.below(FILLING_KEYS) / FILLING_KEYS) * 4_294_967_296);
    const operation = prng.chance(0.6) ? BtreeOperation.insert : BtreeOperation.delete;
    await this.answerOf(call(calls, operation, [0xffff_ffff, high, 1, 0], () => null));
  }

  async #do(
    calls: PromiseClient,
    client: string,
    op: string,
    args: readonly (string | number)[],
    operation: BtreeOperation,
    value = 0,
  ): Promise<void> {
    const name = String(args[0]);
    const [high, low] = treeKey(name);
    const ask = (): Promise<Answer> =>
      this.answerOf(
        call(calls, operation, [low, high, value, 0], (view, at) => {
          const kind = replyValueKind(view, at);
          if (kind === ReplyKind.bulk) return String(view.getUint32(at + REPLY_VALUE_HEADER_BYTES, true));
          if (kind === ReplyKind.nil) return op === "get" || op === "set" ? null : 0;
          return op === "set" ? "OK" : 1;
        }),
      );
    const { outcome } = await this.perform(client, op, args, ask);
    if (outcome !== "info" || op === "get") return;
    if (!this.#keys.noteUnknown(name)) this.#groups.noteUnknown(name.split(":")[0] as string);
  }

  async readAll(): Promise<void> {
    const groups = this.#groups.all.flatMap((group) =>
      Array.from({ length: GROUP_KEYS }, (_, index) => `${group}:${index}`),
    );
    const names = [...this.#keys.all, ...groups];
    for (const index of this.init.client.keys()) {
      const calls = await connectTo(this.init.client[index] as string);
      for (let from = 0; from < names.length; from += READ_AT_ONCE) {
        await Promise.all(
          names
            .slice(from, from + READ_AT_ONCE)
            .map((name, lane) => this.#do(calls, `final ${index}.${lane}`, "get", [name], BtreeOperation.read)),
        );
      }
      await calls.close();
    }
  }

  #open(at: number): Promise<PromiseClient | null> {
    return opened(this.init.client, at, () => this.stopping, connectTo);
  }
}

/** One replica that answers names the others, so that the client follows the leader wherever it goes. */
async function connectTo(address: string): Promise<PromiseClient> {
  const scheduler = new SystemScheduler();
  const calls = new PromiseClient({ scheduler, deadlineMs: DEADLINE_MS });
  const { handlers } = calls;
  const where = { addresses: [address], scheduler, deadlineMs: DEADLINE_MS };
  // Where there are groups, each command goes to its own.
  calls.attach(await connectBlockClient({ ...where, handlers, service: "btree" }));
  return calls;
}

function call<T>(
  calls: PromiseClient,
  operation: BtreeOperation,
  words: readonly number[],
  decode: (view: DataView, at: number) => T,
): Promise<T> {
  const bytes = BTREE_COMMAND_BYTES[operation] as number;
  return calls.submit(
    operation === BtreeOperation.read || operation === BtreeOperation.range,
    (writer) => {
      writer.u32(bytes);
      writer.u32(operation);
      for (let i = 0; i < (bytes - 8) / 4; i++) writer.u32(words[i] as number);
    },
    (_bytes, view, at) => decode(view, at),
  );
}

/** `b12'3` is the fourth life of key 12, `g2'5:1` the second key of the sixth life of group 2. */
function treeKey(name: string): TreeKey {
  const parts = /^([bg])(\d+)(?:'(\d+))?(?::(\d+))?$/.exec(name);
  if (parts === null) throw new Error(`the key ${name} has no place in the tree`);
  const slot = Number(parts[2]) + (parts[1] === "g" ? KEYS : 0);
  const life = Number(parts[3] ?? 0);
  return [slot * Math.floor(4_294_967_296 / (KEYS + GROUPS)), life * 4 + Number(parts[4] ?? 0)];
}
