/** Clients that write down what they asked for and what they were told, for the linearizability checker. */
import { Prng } from "#src/base/index.js";
import { RespConnection, type RespReply, RespReplyError } from "#src/cli/resp-connection.js";
import { HistoryRecorder } from "#src/sim/index.js";

export interface ClientCounts {
  ok: number;
  /** Certainly not applied. */
  fail: number;
  /** Outcome unknown. */
  info: number;
  /** Longest time between two successes of any client, in ms. */
  longestGapMs: number;
  lastOkAt: number;
}

const now = (): number => Number(process.hrtime.bigint());
/** A client gives up on a reply after this many ms; the outcome is then unknown. */
const PATIENCE_MS = 8000;

/**
 * Runs GET, SET, GETSET, INCR, DEL on few keys from several clients, each on one connection at a time, spread over all
 * addresses and moving on when theirs fails.
 */
export class HistoryClients {
  readonly recorder: HistoryRecorder;
  readonly counts: ClientCounts = { ok: 0, fail: 0, info: 0, longestGapMs: 0, lastOkAt: now() };
  readonly #addresses: readonly string[];
  readonly #keys: number;
  readonly #pauseMs: number;
  readonly #prng: Prng;
  #stopping = false;
  readonly #running: Promise<void>[] = [];
  #serial = 0;

  constructor(init: {
    addresses: readonly string[];
    clients: number;
    keys: number;
    pauseMs: number;
    seed: number;
    onLine?: (line: string) => void;
  }) {
    this.recorder = new HistoryRecorder(init.onLine);
    this.#addresses = init.addresses;
    this.#keys = init.keys;
    this.#pauseMs = init.pauseMs;
    this.#prng = new Prng(init.seed);
    for (let i = 0; i < init.clients; i++) this.#running.push(this.#run(i, this.#prng.fork(`client ${i}`)));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
  }

  /** Reads every key once through every address: what was acknowledged has to be there. */
  async readAll(): Promise<void> {
    for (const [index, address] of this.#addresses.entries()) {
      const connection = await RespConnection.open(address, PATIENCE_MS);
      for (let key = 0; key < this.#keys; key++) await this.#perform(connection, `final ${index}`, ["get", `k${key}`]);
      connection.close();
    }
  }

  async #run(index: number, prng: Prng): Promise<void> {
    let at = index % this.#addresses.length;
    while (!this.#stopping) {
      let connection: RespConnection;
      try {
        connection = await RespConnection.open(this.#addresses[at] as string, 500);
      } catch {
        at = (at + 1) % this.#addresses.length;
        await delay(20);
        continue;
      }
      let good = true;
      while (good && !this.#stopping) {
        good = await this.#perform(connection, `c${index}`, this.#command(prng));
        if (this.#pauseMs > 0) await delay(prng.float() * 2 * this.#pauseMs);
      }
      connection.close();
      at = (at + 1) % this.#addresses.length;
    }
  }

  #command(prng: Prng): string[] {
    const key = `k${prng.below(this.#keys)}`;
    const value = String(++this.#serial);
    const draw = prng.below(100);
    if (draw < 40) return ["get", key];
    if (draw < 65) return ["set", key, value];
    if (draw < 78) return ["getset", key, value];
    if (draw < 92) return ["incr", key];
    return ["del", key];
  }

  /** False if the connection should be given up. */
  async #perform(connection: RespConnection, client: string, command: readonly string[]): Promise<boolean> {
    const [op, ...args] = command as [string, ...string[]];
    this.recorder.invoke(client, op, args, now());
    let reply: RespReply | undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      const patience = new Promise<undefined>((resolve) => {
        timer = setTimeout(() => resolve(undefined), PATIENCE_MS);
      });
      reply = await Promise.race([connection.send(command), patience]);
    } catch {
      reply = undefined;
    }
    clearTimeout(timer);
    const at = now();
    if (reply === undefined || (reply instanceof RespReplyError && reply.message.startsWith("INDETERMINATE"))) {
      this.counts.info++;
      this.recorder.complete(client, "info", null, at);
      return reply !== undefined;
    }
    if (reply instanceof RespReplyError && reply.message.startsWith("TRYAGAIN")) {
      this.counts.fail++;
      this.recorder.complete(client, "fail", null, at);
      return false;
    }
    this.counts.ok++;
    this.counts.longestGapMs = Math.max(this.counts.longestGapMs, (at - this.counts.lastOkAt) / 1e6);
    this.counts.lastOkAt = at;
    const result = reply instanceof RespReplyError ? { error: reply.message } : reply;
    this.recorder.complete(client, "ok", result, at);
    return true;
  }
}

export const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
