import { latin1, type Prng } from "../../base/index.js";
import { createRespGateway } from "../../gateway/index.js";
import type { ReplicaId } from "../../model/index.js";
import { type FramePort, MemoryBytePort, type MemoryByteClient, type SimProcess } from "../../platform/index.js";
import type { createBlockClient } from "../../runtime/index.js";
import type { Scenario } from "../scenario/index.js";
import type { LoadClient } from "./load.js";

export interface RespClientsInit {
  readonly name: string;
  readonly prng: Prng;
  readonly scenario: Scenario;
  readonly replicas: readonly ReplicaId[];
  /** Each life of the gateway has a process and a port of its own. */
  readonly open: (name: string) => { process: SimProcess; port: FramePort };
  readonly kill: (process: SimProcess) => void;
  readonly connect: typeof createBlockClient;
  /** A reply contradicts the order in which the commands of its connection were sent. */
  readonly onDisorder: (message: string) => void;
}

/** Commands of one burst, and unanswered ones of a connection, at most. */
const BURST_MAX = 4;
const OPEN_MAX = 12;
const EVENTS = { info: () => {}, warn: () => {}, error: () => {} };

/**
 * A gateway with a few Redis connections, each of which pipelines commands on keys that nobody else touches. What it must be
 * told follows from the order in which it sent them, so every reply is compared at once. A command that failed leaves its keys
 * in doubt: the connection goes on with others.
 */
export class RespClients implements LoadClient {
  readonly #init: RespClientsInit;
  #process: SimProcess;
  #connections: RespConnection[];
  #lives = 0;
  #before = 0;

  constructor(init: RespClientsInit) {
    this.#init = init;
    [this.#process, this.#connections] = this.#start();
  }

  get completed(): number {
    return this.#connections.reduce((sum, { completed }) => sum + completed, this.#before);
  }

  get idle(): boolean {
    return this.#connections.every(({ idle }) => idle);
  }

  get waitsFor(): string {
    return this.#connections.map(({ waitsFor }) => waitsFor).join("; ");
  }

  finish(commands: number): void {
    for (const connection of this.#connections) connection.left = commands;
  }

  restart(): void {
    this.#before = this.completed;
    this.#init.kill(this.#process);
    [this.#process, this.#connections] = this.#start();
  }

  pause(): boolean {
    if (this.#process.paused) return false;
    this.#process.pause();
    return true;
  }

  resume(): void {
    if (this.#process.paused) this.#process.resume();
  }

  #start(): [SimProcess, RespConnection[]] {
    const { name, prng, scenario, replicas, connect, onDisorder } = this.#init;
    const life = `${name}/${++this.#lives}`;
    const { process, port } = this.#init.open(life);
    const nonce = Uint8Array.from({ length: 16 }, () => prng.below(256));
    const bytePort = new MemoryBytePort(process);
    const { deadlineMs, connections } = scenario.workload;
    const config = { sessionIdleMs: Math.max(1600, scenario.limits.sessionIdleMs * 0.4) };
    const gateway = createRespGateway({
      port: bytePort,
      client: (handlers) =>
        connect({ scheduler: process, port, replicas, nonce, deadlineMs, handlers, events: EVENTS, config }),
      scheduler: process,
      info: () => ({}),
      events: EVENTS,
      limits: { deadlineMs },
    });
    gateway.start();
    const opened = Array.from({ length: connections }, (_, index) => {
      return new RespConnection(`${life}.${index + 1}`, process, prng, scenario, bytePort.connect(), onDisorder);
    });
    return [process, opened];
  }
}

/** A key of one connection, as it must be as long as nothing failed on it. */
interface OwnKey {
  readonly name: string;
  value: string | null;
  inDoubt: boolean;
}

interface Sent {
  readonly text: string;
  readonly key: OwnKey;
  /** The reply, as it comes over the wire. */
  readonly expected: string;
}

class RespConnection {
  /** Commands to send before it rests; Infinity while the faults last. */
  left = Infinity;
  completed = 0;
  readonly #name: string;
  readonly #process: SimProcess;
  readonly #prng: Prng;
  readonly #thinkMs: number;
  readonly #client: MemoryByteClient;
  readonly #onDisorder: (message: string) => void;
  readonly #open: Sent[] = [];
  #number: OwnKey;
  #text: OwnKey;
  #keys = 0;
  #input = "";
  #dead = false;

  constructor(
    name: string,
    process: SimProcess,
    prng: Prng,
    scenario: Scenario,
    client: MemoryByteClient,
    onDisorder: (message: string) => void,
  ) {
    this.#name = name;
    this.#process = process;
    this.#prng = prng;
    this.#thinkMs = scenario.workload.thinkMs;
    this.#client = client;
    this.#onDisorder = onDisorder;
    this.#number = this.#newKey();
    this.#text = this.#newKey();
    client.onData = (bytes) => this.#onData(latin1(bytes, 0, bytes.length));
    client.onClose = () => {
      this.#dead = true;
    };
    this.#later();
  }

  get idle(): boolean {
    return this.#dead || (this.#open.length === 0 && this.left <= 0);
  }

  get waitsFor(): string {
    return `${this.#name} waits for ${this.#open.map(({ text }) => text).join(", ") || "nothing"}`;
  }

  #newKey(): OwnKey {
    return { name: `${this.#name}.${++this.#keys}`, value: null, inDoubt: false };
  }

  #later(): void {
    const pause = this.#prng.chance(0.3) ? 0 : this.#thinkMs * 2 * this.#prng.float();
    this.#process.after(pause, () => this.#burst());
  }

  #burst(): void {
    if (this.#dead) return;
    if (this.#number.inDoubt) this.#number = this.#newKey();
    if (this.#text.inDoubt) this.#text = this.#newKey();
    let bytes = "";
    for (let count = 1 + this.#prng.below(BURST_MAX); count > 0; count--) {
      if (this.left <= 0 || this.#open.length >= OPEN_MAX) break;
      this.left--;
      const sent = this.#draw();
      this.#open.push(sent);
      bytes += `${sent.text}\r\n`;
    }
    if (bytes !== "") this.#client.write(bytes);
    if (this.left > 0) this.#later();
  }

  #draw(): Sent {
    const number = this.#number;
    const text = this.#text;
    switch (this.#prng.below(5)) {
      case 0:
        number.value = String(Number(number.value ?? 0) + 1);
        return { text: `INCR ${number.name}`, key: number, expected: `:${number.value}` };
      case 1:
        text.value = `v${this.#prng.below(1_000_000)}`;
        return { text: `SET ${text.name} ${text.value}`, key: text, expected: "+OK" };
      case 2: {
        const expected = text.value === null ? ":0" : ":1";
        text.value = null;
        return { text: `DEL ${text.name}`, key: text, expected };
      }
      default: {
        const key = this.#prng.chance(0.5) ? number : text;
        return {
          text: `GET ${key.name}`,
          key,
          expected: key.value === null ? "$-1" : `$${key.value.length} ${key.value}`,
        };
      }
    }
  }

  #onData(text: string): void {
    this.#input += text;
    for (;;) {
      const end = this.#input.indexOf("\r\n");
      if (end < 0) return;
      let reply = this.#input.slice(0, end);
      let next = end + 2;
      if (reply.startsWith("$") && reply !== "$-1") {
        const length = Number(reply.slice(1));
        if (this.#input.length < next + length + 2) return;
        reply += ` ${this.#input.slice(next, next + length)}`;
        next += length + 2;
      }
      this.#input = this.#input.slice(next);
      this.#onReply(reply);
    }
  }

  #onReply(reply: string): void {
    const sent = this.#open.shift();
    if (sent === undefined) return this.#onDisorder(`${this.#name} is told ${reply} without having asked`);
    this.completed++;
    if (reply.startsWith("-TRYAGAIN") || reply.startsWith("-INDETERMINATE")) sent.key.inDoubt = true;
    else if (!sent.key.inDoubt && reply !== sent.expected) {
      this.#onDisorder(
        `${this.#name} is told ${reply} for ${sent.text}; by what it sent before it must be ${sent.expected}`,
      );
    }
  }
}
