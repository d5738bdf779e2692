import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { ConfigError } from "../model/index.js";
import type { ClientSecurity } from "../runtime/index.js";
import { option } from "./option.js";

/** How a command comes in at a protected cluster, as flags; of a cluster's own directory it learns that by itself. */
export interface ClientSecurityFlags {
  readonly tls?: boolean;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly user?: string;
  readonly passwordFile?: string;
}

/** Where a password may stand instead of a file. It is no flag: other users of the machine can read those. */
const PASSWORD_VARIABLE = `SYNOD_PASSWORD`;

export function addClientSecurityOptions(command: Command): Command {
  return command
    .addOption(option("--tls", "connect with TLS, trusting the system's authorities"))
    .addOption(option("--tls-ca <file>", "connect with TLS, trusting the authorities in this file"))
    .addOption(option("--tls-cert <file>", "the client's certificate, where replicas ask for one"))
    .addOption(option("--tls-key <file>", "its key"))
    .addOption(option("--user <name>", "log in as this user (default: default)"))
    .addOption(option("--password-file <file>", `file with the password (or ${PASSWORD_VARIABLE})`));
}

/** What the flags and the environment say; null if nothing. Throws `ConfigError` for what is missing. */
export function givenSecurity(flags: ClientSecurityFlags): ClientSecurity | null {
  const { tlsCa, tlsCert, tlsKey, user } = flags;
  const password = givenPassword(flags.passwordFile);
  const files = tlsCa !== undefined || tlsCert !== undefined || tlsKey !== undefined;
  if (!files && flags.tls !== true && user === undefined && password === null) return null;
  const pem = (file: string | undefined): string | undefined => (file === undefined ? undefined : read(file));
  const tls = files ? { ca: pem(tlsCa), cert: pem(tlsCert), key: pem(tlsKey) } : flags.tls === true;
  return { tls, user, ...(password === null ? {} : { password }) };
}

/** The same on top of what a cluster's own directory says. */
export function securityOver(own: ClientSecurity, flags: ClientSecurityFlags): ClientSecurity {
  const given = givenSecurity(flags);
  if (given === null) return own;
  const { tls = false, user, password } = given;
  return {
    ...own,
    ...(tls === false ? {} : { tls }),
    ...(password === undefined ? {} : { user: user ?? "default", password }),
  };
}

/** The password in a file, without the end of its line, or in the environment; null without one. */
export function givenPassword(file: string | undefined): string | null {
  const password = file === undefined ? process.env[PASSWORD_VARIABLE] : read(file).replace(/\r?\n$/, "");
  if (password === "") throw new ConfigError(`${file ?? PASSWORD_VARIABLE}: the password is empty`);
  return password ?? null;
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`${file} can't be read: ${(error as Error).message}`);
  }
}
