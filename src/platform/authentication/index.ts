/**
 * authentication: who may come in as a client. Passwords are kept as scrypt hashes; checking one takes tens of ms and
 * 16 MiB, so checks run one at a time, and what was right once is recognised at once.
 */
export { AUTHENTICATOR_DEFAULTS, PasswordAuthenticator, type AuthenticatorOptions } from "./password-authenticator.js";
export { checkPasswordHash, hashPassword } from "./password-hash.js";
