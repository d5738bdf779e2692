// Hot file: members ring for each other in every turn that has anything for another. Nothing here waits, and a ring on top of
// one that is under way is a read and a write of one shared word.
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { assert } from "../../base/index.js";
import type { Bells } from "./api.js";

/** What a member's thread makes its bells of: posted to it, with the ports in the list of what is transferred. */
export interface BellsPart {
  readonly member: number;
  /** A word for each member, a cache line apart: 1 while a ring for it is under way. */
  readonly ringing: SharedArrayBuffer;
  /** Where this member rings for each other one, and is rung for by it; null in its own place, for which no port is needed. */
  readonly ports: readonly (MessagePort | null)[];
}

/** Words between those of two members. */
const WORDS_APART = 16;

/** The bells of so many members, a part for each. */
export function createBellsParts(members: number): readonly BellsPart[] {
  const ringing = new SharedArrayBuffer(members * WORDS_APART * Int32Array.BYTES_PER_ELEMENT);
  const ports: (MessagePort | null)[][] = Array.from({ length: members }, () => []);
  for (const [one, own] of ports.entries()) {
    own[one] = null;
    for (let other = one + 1; other < members; other++) {
      const { port1, port2 } = new MessageChannel();
      own[other] = port1;
      (ports[other] as (MessagePort | null)[])[one] = port2;
    }
  }
  return ports.map((own, member) => ({ member, ringing, ports: own }));
}

/**
 * Bells between the threads of a process. Whoever turns the word of a member from 0 to 1 posts the one message that is under
 * way for it; all others find a 1 and have nothing to do. The member turns it back before its handler looks at shared memory:
 * a ring that found a 1 was in front of that, and what was written before it is seen by the handler that follows.
 */
export class ThreadBells implements Bells {
  readonly #member: number;
  readonly #ringing: Int32Array;
  readonly #ports: readonly (MessagePort | null)[];
  #handler: (() => void) | null = null;
  #closed = false;
  readonly #onMessage = (): void => {
    if (this.#closed || this.#handler === null) return;
    Atomics.store(this.#ringing, this.#member * WORDS_APART, 0);
    this.#handler();
  };

  constructor(part: BellsPart) {
    this.#member = part.member;
    this.#ringing = new Int32Array(part.ringing);
    this.#ports = part.ports;
  }

  ring(member: number): void {
    const port = this.#ports[member];
    assert(port !== undefined, `member ${this.#member} rings for member ${member} of ${this.#ports.length}`);
    const at = member * WORDS_APART;
    // Read first: of a word that is only read, every thread keeps a copy in its cache.
    if (this.#closed || Atomics.load(this.#ringing, at) === 1) return;
    if (Atomics.exchange(this.#ringing, at, 1) === 1) return;
    if (port !== null) port.postMessage(null);
    else setImmediate(this.#onMessage);
  }

  onRing(handler: () => void): void {
    assert(this.#handler === null, "a member has one handler of its bells");
    this.#handler = handler;
    // What was posted before waits in the ports until now; what the member has rung for itself was for nobody.
    for (const port of this.#ports) port?.on("message", this.#onMessage);
    if (Atomics.load(this.#ringing, this.#member * WORDS_APART) === 1) setImmediate(this.#onMessage);
  }

  /** Rings for nobody any more, and no handler is called. */
  close(): void {
    this.#closed = true;
    for (const port of this.#ports) port?.close();
  }
}
