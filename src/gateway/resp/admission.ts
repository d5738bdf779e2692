import type { Authenticator, Scheduler, Timer } from "../../platform/index.js";
import type { RespLimits } from "./config.js";
import { type Connection, Verdict } from "./connection.js";
import { argumentIs, argumentText, type Request } from "./request.js";

export interface AdmissionInit {
  /** Null: everybody is let in. */
  readonly authenticator: Authenticator | null;
  readonly limits: RespLimits;
  readonly scheduler: Scheduler;
  /** Ends a connection at once. */
  readonly cut: (connection: Connection, reason: string) => void;
  /** A verdict has come; a connection that waits for it may go on. */
  readonly decided: (connection: Connection) => void;
}

/**
 * Who of a gateway's connections is let in. A stranger, who has shown neither a certificate nor a password, can execute
 * AUTH, HELLO, RESET and QUIT, and is bounded in time, in input kept, and in number: beyond it the oldest goes.
 *
 * AUTH and HELLO wait for their verdict like a command that waits for room: they are executed again when it is there.
 */
export class Admission {
  readonly #init: AdmissionInit;
  readonly #timer: Timer;
  /** The oldest first. */
  readonly #strangers = new Set<Connection>();

  constructor(init: AdmissionInit) {
    this.#init = init;
    this.#timer = init.scheduler.timer(() => this.#expire());
  }

  /** Whether connections have to authenticate. */
  get required(): boolean {
    return this.#init.authenticator !== null;
  }

  /** A connection has come, or wants to be as new. `certified`: by its certificate it is in. */
  arrived(connection: Connection, certified: boolean): void {
    connection.certified = certified;
    connection.user = "default";
    connection.authenticated = certified || !this.required;
    if (connection.authenticated) return;
    const { limits, cut } = this.#init;
    connection.strangerSinceMs = this.#nowMs();
    this.#strangers.add(connection);
    if (this.#strangers.size === 1) this.#timer.set(connection.strangerSinceMs + limits.strangerMs);
    if (this.#strangers.size <= limits.strangersMax) return;
    for (const oldest of this.#strangers) {
      // Somebody whose password is being looked at waits through no fault of its own.
      if (oldest.verdict === Verdict.asked) continue;
      cut(oldest, `more than ${limits.strangersMax} connections are not authenticated`);
      return;
    }
  }

  /** It is gone. */
  left(connection: Connection): void {
    this.#strangers.delete(connection);
  }

  /**
   * For AUTH and HELLO: false if the verdict on the password in this request has yet to come. True also for a request that
   * has none.
   */
  settled(connection: Connection, request: Request): boolean {
    const { authenticator, decided } = this.#init;
    if (authenticator === null || connection.verdict !== Verdict.none) return connection.verdict !== Verdict.asked;
    const at = loginAt(request);
    if (at === null) return true;
    connection.verdict = Verdict.asked;
    connection.asUser = at.user < 0 ? "default" : argumentText(request, at.user).slice(0, 64);
    const start = request.spans[2 * at.password] as number;
    const end = request.spans[2 * at.password + 1] as number;
    authenticator.verify(connection.asUser, request.bytes.subarray(start, end), connection.remote, (accepted) => {
      if (connection.closed) return;
      connection.verdict = accepted ? Verdict.accepted : Verdict.refused;
      decided(connection);
    });
    return false;
  }

  /** Takes the verdict on the password in the request that is executed: true if the connection is in by it. */
  logIn(connection: Connection): boolean {
    const accepted = connection.verdict === Verdict.accepted;
    connection.verdict = Verdict.none;
    if (!accepted) return false;
    connection.user = connection.asUser;
    connection.authenticated = true;
    this.#strangers.delete(connection);
    return true;
  }

  /** The request that a verdict was asked for is answered, on whichever way: the verdict is none on the next one. */
  answered(connection: Connection): void {
    connection.verdict = Verdict.none;
  }

  close(): void {
    this.#timer.clear();
  }

  #expire(): void {
    const { limits, cut } = this.#init;
    const now = this.#nowMs();
    for (const stranger of this.#strangers) {
      const at = stranger.strangerSinceMs + limits.strangerMs;
      if (at > now) {
        this.#timer.set(at);
        return;
      }
      this.#strangers.delete(stranger);
      cut(stranger, `it has not authenticated within ${limits.strangerMs} ms`);
    }
  }

  #nowMs(): number {
    return this.#init.scheduler.clock.monotonicMs();
  }
}

/** Where user (-1: the default one) and password stand in `AUTH [user] password` or `HELLO 3 … AUTH user password`. */
function loginAt(request: Request): { readonly user: number; readonly password: number } | null {
  if (argumentIs(request, 0, "AUTH")) {
    if (request.count === 2) return { user: -1, password: 1 };
    return request.count === 3 ? { user: 1, password: 2 } : null;
  }
  for (let i = 2; i < request.count; i++) {
    if (argumentIs(request, i, "AUTH")) return i + 2 < request.count ? { user: i + 1, password: i + 2 } : null;
    if (!argumentIs(request, i, "SETNAME")) return null;
    i++;
  }
  return null;
}
