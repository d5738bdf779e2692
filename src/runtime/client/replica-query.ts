import { assert, decodeUtf8, encodeUtf8 } from "../../base/index.js";
import { ClosedError, FrameKind, type ReplicaId, SynodError } from "../../model/index.js";
import type { FramePort, Scheduler, Timer } from "../../platform/index.js";

/** Longest answer to a status or admin request. */
const ANSWER_BYTES_MAX = 64 * 1024;

/** What a replica says of itself and its cluster when a client connects. */
export interface Welcome {
  readonly replica: ReplicaId;
  /** 0 if it knows of none. */
  readonly leader: ReplicaId;
  /** The rest of the frame: the cluster's client addresses, as JSON. */
  readonly addresses: unknown;
}

/** A replica did not answer within the time given. */
export class NoAnswerError extends SynodError {
  constructor(message: string) {
    super("SYNOD_NO_ANSWER", message);
  }
}

interface Question {
  readonly kind: number;
  readonly body: object;
  readonly timer: Timer;
  sent: boolean;
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

interface Link {
  up: boolean;
  welcome: Welcome | null;
  /** Asked and not yet answered, oldest first. A replica answers a connection's questions in order. */
  readonly questions: Question[];
  readonly awaitingWelcome: ((welcome: Welcome) => void)[];
}

/**
 * Asks replicas about themselves (`status` frames) and for favours (`admin` frames) over a port that dials their client
 * addresses; a link's number is the index of its address. Questions to a replica that is down wait for it until their time
 * is over. Not for commands: those are a `BlockClient`'s.
 */
export class ReplicaQuery {
  readonly #port: FramePort;
  readonly #scheduler: Scheduler;
  readonly #links: readonly Link[];
  #closed = false;

  constructor(port: FramePort, scheduler: Scheduler, addresses: number) {
    this.#port = port;
    this.#scheduler = scheduler;
    this.#links = Array.from({ length: addresses }, () => ({
      up: false,
      welcome: null,
      questions: [],
      awaitingWelcome: [],
    }));
    port.start({
      onLink: (index, up) => this.#onLink(index, up),
      onFrame: (index, kind, bytes, view, start, end) => this.#onFrame(index, kind, bytes, view, start, end),
      onDrain: () => undefined,
    });
  }

  /** What the replica at this address said first. Rejects with `NoAnswerError` after `timeoutMs`. */
  welcome(index: number, timeoutMs: number): Promise<Welcome> {
    const link = this.#link(index);
    if (link.welcome !== null) return Promise.resolve(link.welcome);
    return new Promise((resolve, reject) => {
      const timer = this.#after(timeoutMs, () => {
        link.awaitingWelcome.splice(link.awaitingWelcome.indexOf(arrived), 1);
        reject(new NoAnswerError(`no replica answered within ${timeoutMs} ms`));
      });
      const arrived = (welcome: Welcome): void => {
        timer.clear();
        resolve(welcome);
      };
      link.awaitingWelcome.push(arrived);
    });
  }

  /** Sends a `status` request and resolves with the parsed answer. Rejects with `NoAnswerError` after `timeoutMs`. */
  status(index: number, want: object, timeoutMs: number): Promise<unknown> {
    return this.#ask(index, FrameKind.status, want, timeoutMs);
  }

  /** The same for an `admin` request. */
  admin(index: number, wish: object, timeoutMs: number): Promise<unknown> {
    return this.#ask(index, FrameKind.admin, wish, timeoutMs);
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const link of this.#links) {
      for (const question of link.questions.splice(0)) {
        question.timer.clear();
        question.reject(new ClosedError());
      }
    }
    return new Promise((resolve) => this.#port.close(resolve));
  }

  #ask(index: number, kind: number, body: object, timeoutMs: number): Promise<unknown> {
    if (this.#closed) return Promise.reject(new ClosedError());
    const link = this.#link(index);
    return new Promise((resolve, reject) => {
      const question: Question = {
        kind,
        body,
        sent: false,
        resolve,
        reject,
        timer: this.#after(timeoutMs, () => {
          // The answer may still come, and would be taken for that of the next question: the link begins anew.
          const { sent } = question;
          link.questions.splice(link.questions.indexOf(question), 1);
          reject(new NoAnswerError(`no answer within ${timeoutMs} ms`));
          if (sent && link.up) this.#port.disconnect(index, "a question was not answered in time");
        }),
      };
      link.questions.push(question);
      this.#sendUnsent(index, link);
    });
  }

  #sendUnsent(index: number, link: Link): void {
    if (!link.up) return;
    for (const question of link.questions) {
      if (question.sent) continue;
      const writer = this.#port.begin(index, question.kind);
      if (writer === null) break;
      const bytes = encodeUtf8(JSON.stringify(question.body));
      writer.copy(bytes, 0, bytes.length);
      this.#port.end();
      question.sent = true;
    }
    this.#port.flush();
  }

  #onLink(index: number, up: boolean): void {
    const link = this.#link(index);
    link.up = up;
    if (!up) {
      link.welcome = null;
      // What was asked over the lost connection is asked again over the next: nothing that is asked here does harm twice.
      for (const question of link.questions) question.sent = false;
    }
    this.#sendUnsent(index, link);
  }

  #onFrame(index: number, kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): void {
    const link = this.#link(index);
    if (kind === FrameKind.welcome) {
      if (end - start < 8) return this.#port.disconnect(index, "malformed welcome");
      const addresses = parseAnswer(bytes, start + 8, end);
      const welcome = { replica: view.getUint32(start, true), leader: view.getUint32(start + 4, true), addresses };
      link.welcome = welcome;
      for (const arrived of link.awaitingWelcome.splice(0)) arrived(welcome);
    } else if (kind === FrameKind.statusReply || kind === FrameKind.adminReply) {
      const question = link.questions[0];
      if (question === undefined || !question.sent) return this.#port.disconnect(index, "an answer without a question");
      link.questions.shift();
      question.timer.clear();
      const answer = parseAnswer(bytes, start, end);
      if (answer === undefined) question.reject(new NoAnswerError("the answer is not JSON"));
      else question.resolve(answer);
    }
  }

  #after(delayMs: number, run: () => void): Timer {
    const timer = this.#scheduler.timer(run);
    timer.set(this.#scheduler.clock.monotonicMs() + delayMs);
    return timer;
  }

  #link(index: number): Link {
    const link = this.#links[index];
    assert(link !== undefined, `there is no address ${index}`);
    return link;
  }
}

/** `undefined` for what is too long or no JSON. */
function parseAnswer(bytes: Uint8Array, start: number, end: number): unknown {
  if (end - start > ANSWER_BYTES_MAX) return undefined;
  try {
    return JSON.parse(decodeUtf8(bytes, start, end)) as unknown;
  } catch {
    return undefined;
  }
}
