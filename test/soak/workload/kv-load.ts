import type { Prng } from "#src/base/index.js";
import { RespConnection, type RespReply, RespReplyError } from "#src/cli/resp-connection.js";
import { KeyLives } from "./key-lives.js";
import { type Answer, failed, type LoadInit, opened, RecordedLoad, unknown } from "./recorded-load.js";

/** A client gives up on a reply after this many ms; the outcome is then unknown. */
const PATIENCE_MS = 8000;
const CONNECT_MS = 500;
/** Lifetimes of values that expire, in ms: between replicas that live, through an election, beyond a restart, never met. */
const LIFETIMES_MS = [5, 300, 3000, 60_000];
/** Commands on keys that are used together before others take their place. */
const JOINT_USES_MAX = 300;
/** Clients that use keys together; more of them at once make the search for an order long. */
const JOINT_CLIENTS = 3;
/** Share of commands that only fill the log, so that checkpoints are due and logs are trimmed; no history has them. */
const FILLING_SHARE = 0.04;
const FILLING_KEYS = 8;
const FILLING = "f".repeat(64 * 1024);
/** Keys that are read at once when everything is read. */
const READ_AT_ONCE = 200;

type Command = readonly [op: string, ...args: string[]];

/**
 * The store over the Redis protocol: texts and numbers, values that expire, transactions with and without WATCH, ranges and
 * reads of several keys. Clients are spread over all replicas and move on when theirs fails.
 */
export class KvLoad extends RecordedLoad {
  readonly #texts = new KeyLives("t", 8);
  readonly #numbers = new KeyLives("n", 4);
  readonly #expiring = new KeyLives("x", 4);
  /** Each stands for two keys, `…:a` and `…:b`. */
  readonly #joint = new KeyLives("j", 2, JOINT_USES_MAX);
  #serial = 0;

  constructor(init: LoadInit) {
    super(init);
  }

  protected async run(client: string, prng: Prng, index: number): Promise<void> {
    for (let at = index; !this.stopping; at++) {
      const connection = await this.#open(at);
      if (connection === null) return;
      let good = true;
      while (good && !this.stopping) {
        good = await this.#next(connection, client, prng, index);
        await this.pause(prng);
      }
      connection.close();
    }
  }

  async readAll(): Promise<void> {
    const joint = this.#joint.all.flatMap((name) => [`${name}:a`, `${name}:b`]);
    const keys = [...this.#texts.all, ...this.#numbers.all, ...this.#expiring.all, ...joint];
    for (const [index, address] of this.init.resp.entries()) {
      const connection = await RespConnection.open(address, PATIENCE_MS);
      for (let from = 0; from < keys.length; from += READ_AT_ONCE) {
        await Promise.all(
          keys
            .slice(from, from + READ_AT_ONCE)
            .map((key, lane) => this.#ask(connection, `final ${index}.${lane}`, ["get", key])),
        );
      }
      connection.close();
    }
  }

  #open(at: number): Promise<RespConnection | null> {
    return opened(
      this.init.resp,
      at,
      () => this.stopping,
      (address) => RespConnection.open(address, CONNECT_MS),
    );
  }

  /** One command, or a few that belong together. False if the connection should be given up. */
  #next(connection: RespConnection, client: string, prng: Prng, index: number): Promise<boolean> {
    if (prng.chance(FILLING_SHARE)) return this.#fill(connection, `f${prng.below(FILLING_KEYS)}`);
    const text = this.#texts.use(prng.below(this.#texts.count));
    const number = this.#numbers.use(prng.below(this.#numbers.count));
    const draw = prng.below(100);
    if (index < JOINT_CLIENTS && draw < 30) return this.#together(connection, client, prng);
    if (draw < 45) return this.#ask(connection, client, ["get", prng.pick([text, number])]);
    if (draw < 57) return this.#ask(connection, client, ["set", text, this.#value()]);
    if (draw < 65) return this.#ask(connection, client, ["getset", text, this.#value()]);
    if (draw < 70) return this.#ask(connection, client, ["append", text, `+${this.#value()}`]);
    if (draw < 74) return this.#ask(connection, client, ["setnx", text, this.#value()]);
    if (draw < 78) return this.#ask(connection, client, ["del", prng.pick([text, number])]);
    if (draw < 88) return this.#ask(connection, client, ["incr", number]);
    if (draw < 92) return this.#compareAndSet(connection, client, text);
    return this.#expire(connection, client, prng);
  }

  async #fill(connection: RespConnection, key: string): Promise<boolean> {
    const { outcome } = await this.#answer(connection, [["set", key, FILLING]], (reply) => reply);
    return outcome === "ok";
  }

  /** Values that expire are written whole and are unique, so that the history knows by its value which one went. */
  #expire(connection: RespConnection, client: string, prng: Prng): Promise<boolean> {
    const key = this.#expiring.use(prng.below(this.#expiring.count));
    if (prng.chance(0.4)) return this.#ask(connection, client, ["get", key]);
    if (prng.chance(0.15)) return this.#ask(connection, client, ["get", key], ["getex", key, "PERSIST"]);
    const value = this.#value();
    this.#expiring.noteUnknown(key);
    // An operation without a known outcome: it takes effect at any time from now on, if ever.
    const after = `${client} expires ${value}`;
    this.recorder.invoke(after, "expired", [key, value], this.now());
    this.recorder.complete(after, "info", null, this.now());
    const sent = ["set", key, value, "PX", String(prng.pick(LIFETIMES_MS))] as const;
    return this.#ask(connection, client, ["set", key, value], sent);
  }

  #together(connection: RespConnection, client: string, prng: Prng): Promise<boolean> {
    const name = this.#joint.use(prng.below(this.#joint.count));
    const [a, b] = [`${name}:a`, `${name}:b`];
    switch (prng.below(5)) {
      case 0:
        return this.#ask(connection, client, ["mset", a, this.#value(), b, this.#value()]);
      case 1:
        return this.#ask(connection, client, ["mget", a, b]);
      case 2:
        return this.#ask(connection, client, ["mget", a, b], ["range", `${name}:`, `${name}:~`], (reply) => {
          const pairs = reply as readonly string[];
          return [a, b].map((key) => {
            const at = pairs.findIndex((entry, index) => index % 2 === 0 && entry === key);
            return at < 0 ? null : (pairs[at + 1] as string);
          });
        });
      case 3:
        return this.#transaction(connection, client, [
          ["getset", a, this.#value()],
          ["del", b],
        ]);
      default:
        return this.#transaction(connection, client, [
          ["set", b, this.#value()],
          ["get", a],
        ]);
    }
  }

  async #transaction(connection: RespConnection, client: string, commands: readonly Command[]): Promise<boolean> {
    const ask = (): Promise<Answer> => this.#answer(connection, [["multi"], ...commands, ["exec"]], (reply) => reply);
    return this.#settled(
      commands.map(([, key]) => key as string),
      await this.perform(client, "exec", commands, ask),
    );
  }

  /** Reads a key and sets it if nothing has changed it since. */
  async #compareAndSet(connection: RespConnection, client: string, key: string): Promise<boolean> {
    const watched = await this.#answer(connection, [["watch", key]], (reply) => reply);
    if (watched.outcome !== "ok") return false;
    const before = await this.perform(client, "get", [key], () =>
      this.#answer(connection, [["get", key]], (reply) => reply),
    );
    if (before.outcome !== "ok") return false;
    const value = this.#value();
    const commands: Command[] = [["multi"], ["set", key, value], ["exec"]];
    const ask = (): Promise<Answer> => this.#answer(connection, commands, (reply) => (reply === null ? 0 : 1));
    return this.#settled([key], await this.perform(client, "cas", [key, before.result, value], ask));
  }

  /** `sent`: what is sent where the history has another name for it. */
  async #ask(
    connection: RespConnection,
    client: string,
    command: Command,
    sent: Command = command,
    result: (reply: RespReply) => unknown = (reply) => reply,
  ): Promise<boolean> {
    const [op, ...args] = command;
    const answer = await this.perform(client, op, args, () => this.#answer(connection, [sent], result));
    return this.#settled(op === "mset" ? args.filter((_, index) => index % 2 === 0) : args.slice(0, 1), answer);
  }

  #settled(keys: readonly string[], answer: Answer): boolean {
    if (answer.outcome === "info") {
      for (const key of keys) {
        for (const names of [this.#texts, this.#numbers, this.#expiring]) names.noteUnknown(key);
        this.#joint.noteUnknown(key.split(":")[0] as string);
      }
    }
    return answer.outcome === "ok";
  }

  /** The reply to the last of the commands, which are sent at once. */
  async #answer(
    connection: RespConnection,
    commands: readonly Command[],
    result: (reply: RespReply) => unknown,
  ): Promise<Answer> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), PATIENCE_MS);
    });
    let replies: readonly RespReply[] | null;
    try {
      replies = await Promise.race([Promise.all(commands.map((command) => connection.send(command))), patience]);
    } catch {
      replies = null;
    }
    clearTimeout(timer);
    if (replies === null) return unknown;
    const reply = replies.at(-1) as RespReply;
    if (!(reply instanceof RespReplyError)) return { outcome: "ok", result: valueOf(result(reply)) };
    if (reply.message.startsWith("INDETERMINATE")) return unknown;
    if (/^(TRYAGAIN|EXECABORT)/.test(reply.message)) return failed;
    return { outcome: "ok", result: valueOf(reply) };
  }

  #value(): string {
    return String(++this.#serial);
  }
}

/** A reply as histories hold it. */
function valueOf(reply: unknown): unknown {
  if (reply instanceof RespReplyError) return { error: reply.message };
  return Array.isArray(reply) ? reply.map(valueOf) : reply;
}
