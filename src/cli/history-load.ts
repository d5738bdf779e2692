import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { Prng } from "../base/index.js";
import { HistoryRecorder, type Operation } from "../sim/index.js";
import type { ClientSecurity } from "../runtime/index.js";
import { RespConnection, type RespReply, RespReplyError } from "./resp-connection.js";

/** Keys of the load: few enough that clients meet on them all the time. */
const KEYS = 60;
const CLIENTS_PER_REPLICA = 2;
/** A client's pause between two operations: the load is there to be checked, not to be fast. */
const PAUSE_MS = 1;
const CONNECT_MS_MAX = 1000;
/** After a lost connection, before the next attempt. */
const RECONNECT_MS = 50;
/** How long `stop` waits for what is unanswered. */
const LAST_ANSWER_MS_MAX = 1000;
/** The load stops by itself at this length: a history is checked as a whole and kept in memory. */
export const LOAD_OPERATIONS_MAX = 200_000;

/**
 * Clients of all replicas that read, write and increment the same few keys, and a history of what they asked and were told. Each
 * load has keys of its own, which start absent; `clear` takes them away again.
 */
export class HistoryLoad {
  readonly #addresses: readonly string[];
  readonly #security: ClientSecurity;
  readonly #prefix = `synod:load:${randomBytes(4).toString("hex")}:`;
  readonly #recorder = new HistoryRecorder();
  readonly #clients: Promise<void>[] = [];
  readonly #connections = new Set<RespConnection>();
  #running = false;
  #written = 0;

  /** `addresses`: the RESP ports of all replicas, those of dead ones too. */
  constructor(addresses: readonly string[], security: ClientSecurity = {}) {
    this.#addresses = addresses;
    this.#security = security;
  }

  get running(): boolean {
    return this.#running;
  }

  get keys(): number {
    return KEYS;
  }

  get operations(): readonly Operation[] {
    return this.#recorder.operations;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    const clients = this.#addresses.length * CLIENTS_PER_REPLICA;
    for (let client = 0; client < clients; client++) {
      const address = this.#addresses[client % this.#addresses.length] as string;
      this.#clients.push(this.#runClient(`c${client + 1}`, address));
    }
  }

  /** Resolves when every client has its last answer, or has given up on it: a paused replica answers nothing. */
  async stop(): Promise<void> {
    this.#running = false;
    const ended = Promise.all(this.#clients.splice(0));
    const patience = new AbortController();
    const impatient = setTimeout(LAST_ANSWER_MS_MAX, undefined, { signal: patience.signal }).then(
      () => {
        for (const connection of this.#connections) connection.close();
      },
      () => undefined,
    );
    await ended;
    patience.abort();
    await impatient;
  }

  /** Deletes the load's keys, so that nothing of it stays in the store. The history can't be continued after that. */
  async clear(): Promise<void> {
    const keys = Array.from({ length: KEYS }, (_, index) => this.#key(index));
    for (const address of this.#addresses) {
      try {
        const connection = await RespConnection.open(address, CONNECT_MS_MAX, this.#security);
        const reply = await connection.send(["DEL", ...keys]);
        connection.close();
        if (typeof reply === "number") return;
      } catch {
        // That replica is down; another one takes the command.
      }
    }
  }

  async #runClient(client: string, address: string): Promise<void> {
    const prng = new Prng(randomBytes(4).readUInt32LE());
    let connection: RespConnection | null = null;
    while (this.#running && this.#recorder.operations.length < LOAD_OPERATIONS_MAX) {
      try {
        connection ??= await RespConnection.open(address, CONNECT_MS_MAX, this.#security);
        this.#connections.add(connection);
      } catch {
        await setTimeout(RECONNECT_MS);
        continue;
      }
      if (!(await this.#operate(client, connection, prng))) {
        this.#connections.delete(connection);
        connection = null;
      }
      await setTimeout(PAUSE_MS);
    }
    if (connection !== null) this.#connections.delete(connection);
    connection?.close();
    if (this.#recorder.operations.length >= LOAD_OPERATIONS_MAX) this.#running = false;
  }

  /** One operation with its two lines of history. False when the connection is lost. */
  async #operate(client: string, connection: RespConnection, prng: Prng): Promise<boolean> {
    const [op, ...args] = this.#pick(prng);
    this.#recorder.invoke(client, op, args, nowNs());
    let reply: RespReply;
    try {
      reply = await connection.send([op, ...args]);
    } catch {
      this.#recorder.complete(client, "info", null, nowNs());
      return false;
    }
    if (!(reply instanceof RespReplyError)) this.#recorder.complete(client, "ok", reply, nowNs());
    else if (reply.message.startsWith("TRYAGAIN")) this.#recorder.complete(client, "fail", null, nowNs());
    else if (reply.message.startsWith("INDETERMINATE")) this.#recorder.complete(client, "info", null, nowNs());
    else this.#recorder.complete(client, "ok", { error: reply.message }, nowNs());
    return true;
  }

  /** Half reads; written values are all different, so that a read says which write it saw. Two thirds of the keys hold text. */
  #pick(prng: Prng): [op: string, ...args: string[]] {
    const index = prng.below(KEYS);
    const key = this.#key(index);
    if (prng.chance(0.5)) return ["get", key];
    if (index % 3 === 0) return ["incr", key];
    if (prng.chance(0.1)) return ["del", key];
    return ["set", key, `v${++this.#written}`];
  }

  #key(index: number): string {
    return `${this.#prefix}${index}`;
  }
}

const nowNs = (): number => Math.round(performance.now() * 1e6);
