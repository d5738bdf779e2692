import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Authenticator, EventLog, Scheduler } from "../port.js";
import { FaultLog } from "../transport/fault-log.js";
import { checkPasswordHash, hashLike, hashPassword, type StoredPassword } from "./password-hash.js";

export interface AuthenticatorOptions {
  /** Passwords waiting to be checked; a further one is refused. */
  readonly waitingMax: number;
  /** Users with their passwords that were right and are recognised without being hashed again; the oldest is forgotten. */
  readonly rememberedMax: number;
}

export const AUTHENTICATOR_DEFAULTS: AuthenticatorOptions = Object.freeze({
  waitingMax: 64,
  rememberedMax: 1024,
});

export interface PasswordAuthenticatorInit {
  readonly scheduler: Scheduler;
  readonly events: EventLog;
  /** User names and what is stored of their passwords (`checkPasswordHash`). */
  readonly passwords: Readonly<Record<string, string>>;
  /** Users with secrets so long that they need no hash: random ones. */
  readonly secrets: Readonly<Record<string, string>>;
  readonly options?: Partial<AuthenticatorOptions>;
}

interface Attempt {
  readonly user: string;
  readonly password: Buffer;
  readonly remote: string;
  readonly done: (accepted: boolean) => void;
}

/**
 * Knows users by their passwords. Every comparison takes the same time whether it fails early or late, and an unknown user
 * as long as a known one. One password at a time is hashed, so that strangers can neither take the memory nor the threads
 * on which the log is synced; they may make each other wait, but nobody whose password was right before.
 *
 * Nothing here is logged but names of users that exist.
 */
export class PasswordAuthenticator implements Authenticator {
  readonly #faults: FaultLog;
  readonly #options: AuthenticatorOptions;
  /** Makes what is remembered worthless outside this process. */
  readonly #key = randomBytes(32);
  readonly #secrets = new Map<string, Buffer>();
  /** Compared with for users that don't exist. */
  readonly #nobody: StoredPassword;
  #users: ReadonlyMap<string, StoredPassword>;
  readonly #remembered = new Set<string>();
  readonly #waiting: Attempt[] = [];
  #hashing = false;

  /** Throws `ConfigError` for a stored password that is malformed. */
  constructor(init: PasswordAuthenticatorInit) {
    this.#faults = new FaultLog(init.events, init.scheduler.clock);
    this.#options = { ...AUTHENTICATOR_DEFAULTS, ...init.options };
    this.#users = usersOf(init.passwords);
    this.#nobody = checkPasswordHash("", hashPassword(randomBytes(16).toString("hex")));
    for (const [user, secret] of Object.entries(init.secrets))
      this.#secrets.set(user, this.#digest(Buffer.from(secret)));
  }

  /** Other users and passwords from now on; who is in stays in. Throws `ConfigError` and changes nothing if one is malformed. */
  replace(passwords: Readonly<Record<string, string>>): void {
    this.#users = usersOf(passwords);
    this.#remembered.clear();
  }

  verify(user: string, password: Uint8Array, remote: string, done: (accepted: boolean) => void): void {
    const attempt: Attempt = { user, password: Buffer.from(password), remote, done };
    const known = this.#known(attempt);
    if (known !== null) {
      setImmediate(() => this.#decide(attempt, known));
    } else if (this.#waiting.length >= this.#options.waitingMax) {
      this.#faults.warn("authentication-failed", "busy", { remote, detail: "too many passwords wait to be checked" });
      setImmediate(() => done(false));
    } else {
      this.#waiting.push(attempt);
      this.#hashNext();
    }
  }

  /** What can be said without a hash; null if that needs one. */
  #known(attempt: Attempt): boolean | null {
    const { user, password } = attempt;
    const secret = this.#secrets.get(user);
    if (secret !== undefined) return timingSafeEqual(this.#digest(password), secret);
    const stored = this.#users.get(user);
    if (stored?.kind === "plain") return timingSafeEqual(this.#digest(password), this.#digest(stored.password));
    return this.#remembered.has(this.#memory(attempt)) ? true : null;
  }

  #hashNext(): void {
    const attempt = this.#waiting[0];
    if (this.#hashing || attempt === undefined) return;
    this.#hashing = true;
    this.#waiting.shift();
    const users = this.#users;
    const stored = users.get(attempt.user) ?? this.#nobody;
    if (stored.kind !== "scrypt") {
      // The users were replaced while it waited.
      this.#hashing = false;
      return this.verify(attempt.user, attempt.password, attempt.remote, attempt.done);
    }
    hashLike(stored, attempt.password, (hash) => {
      this.#hashing = false;
      const accepted = hash !== null && timingSafeEqual(hash, stored.hash) && users.has(attempt.user);
      if (accepted && users === this.#users) this.#remember(attempt);
      this.#decide(attempt, accepted);
      this.#hashNext();
    });
  }

  #decide(attempt: Attempt, accepted: boolean): void {
    if (!accepted) {
      const { user, remote } = attempt;
      const exists = this.#users.has(user) || this.#secrets.has(user);
      const detail = exists ? `wrong password of user ${user}` : "an unknown user";
      this.#faults.warn("authentication-failed", exists ? "password" : "user", { remote, detail });
    }
    attempt.done(accepted);
  }

  #remember(attempt: Attempt): void {
    if (this.#remembered.size >= this.#options.rememberedMax) {
      const [oldest = ""] = this.#remembered;
      this.#remembered.delete(oldest);
    }
    this.#remembered.add(this.#memory(attempt));
  }

  #memory({ user, password }: Attempt): string {
    return createHmac("sha256", this.#key).update(`${user.length}:${user}:`).update(password).digest("base64");
  }

  #digest(secret: Buffer): Buffer {
    return createHmac("sha256", this.#key).update(secret).digest();
  }
}

function usersOf(passwords: Readonly<Record<string, string>>): ReadonlyMap<string, StoredPassword> {
  return new Map(Object.entries(passwords).map(([user, text]) => [user, checkPasswordHash(user, text)]));
}
