import { randomBytes, scrypt, type ScryptOptions, scryptSync } from "node:crypto";
import { ConfigError } from "../../model/index.js";

/** Cost of a hash: about 40 ms and 16 MiB. */
const COST = 16_384;
const BLOCK_SIZE = 8;
const HASH_BYTES = 32;
const SALT_BYTES = 16;
/** A hash in a configuration that asks for more is refused: checking it would take the memory of the replica. */
const COST_MAX = 2 ** 18;
const BLOCK_SIZE_MAX = 32;
const MEMORY_BYTES_MAX = 256 * 1024 * 1024;

/** A stored password, read. */
export type StoredPassword =
  | { readonly kind: "plain"; readonly password: Buffer }
  | { readonly kind: "scrypt"; readonly options: ScryptOptions; readonly salt: Buffer; readonly hash: Buffer };

/** `scrypt:N:r:p:SALT:HASH`, salt and hash in base64url. Blocks for about 40 ms. */
export function hashPassword(password: string): string {
  const salt = randomBytes(SALT_BYTES);
  const hash = scryptSync(password, salt, HASH_BYTES, { N: COST, r: BLOCK_SIZE, p: 1 });
  return ["scrypt", COST, BLOCK_SIZE, 1, salt.toString("base64url"), hash.toString("base64url")].join(":");
}

/** Reads what a configuration says of a user's password. Throws `ConfigError`, which does not repeat it. */
export function checkPasswordHash(user: string, text: string): StoredPassword {
  if (text.startsWith("plain:")) return { kind: "plain", password: Buffer.from(text.slice("plain:".length)) };
  const [kind, cost, blockSize, parallel, salt = "", hash = "", ...rest] = text.split(":");
  const numbers = [cost, blockSize, parallel].map(Number);
  const [N = 0, r = 0, p = 0] = numbers;
  const options = { N, r, p, maxmem: MEMORY_BYTES_MAX };
  const read = { salt: Buffer.from(salt, "base64url"), hash: Buffer.from(hash, "base64url") };
  const wellFormed =
    kind === "scrypt" && rest.length === 0 && numbers.every((each) => Number.isInteger(each) && each > 0);
  const bounded = N <= COST_MAX && r <= BLOCK_SIZE_MAX && p <= 4 && 128 * N * r <= MEMORY_BYTES_MAX / 2;
  const complete = (N & (N - 1)) === 0 && N > 1 && read.salt.length >= 8 && read.hash.length === HASH_BYTES;
  if (wellFormed && bounded && complete) return { kind, options, ...read };
  throw new ConfigError(`security.passwords.${user} is neither scrypt:N:r:p:SALT:HASH nor plain:PASSWORD`);
}

/** The hash of a password with a stored one's salt and cost, made in the thread pool. Null if the system refuses. */
export function hashLike(
  stored: StoredPassword & { readonly kind: "scrypt" },
  password: Uint8Array,
  done: (hash: Buffer | null) => void,
): void {
  scrypt(password, stored.salt, HASH_BYTES, stored.options, (error, hash) => done(error === null ? hash : null));
}
