import { readFileSync, statSync } from "node:fs";
import { X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import {
  authenticatesClients,
  type ClusterConfig,
  ConfigError,
  REPLICA_USER,
  type ReplicaId,
  type SecurityConfig,
  type TlsFiles,
} from "../../model/index.js";
import type { ClientSecurity } from "../client/client-access.js";
import {
  type Authenticator,
  type EventLog,
  type Login,
  PasswordAuthenticator,
  replicaNamed,
  replicaUri,
  type Scheduler,
  type Timer,
  TlsCredentials,
  type TlsPem,
} from "../../platform/index.js";

/** How often it is looked whether certificates have changed. */
const WATCH_MS = 10_000;
const DAY_MS = 24 * 3600 * 1000;
/** From so long before a certificate's end, every start, every exchange and every day says so. */
const EXPIRY_WARNING_MS = 30 * DAY_MS;

/** What a dialler of client ports needs. */
export interface ClientAccess {
  readonly tls?: TlsCredentials | undefined;
  readonly login?: Login | undefined;
}

/** One set of files and the credentials made of it. */
interface Watched {
  readonly role: string;
  readonly paths: readonly string[];
  /** Those of them that hold certificates. */
  readonly certificates: readonly string[];
  readonly credentials: TlsCredentials;
  readonly read: () => TlsPem;
  /** Sizes and times of the files at the last look. */
  seen: string;
}

export interface SecurityInit {
  /** The cluster's directory, which names of files are relative to. */
  readonly directory: string;
  readonly config: ClusterConfig;
  readonly self: ReplicaId;
  readonly scheduler: Scheduler;
  readonly events: EventLog;
}

/**
 * The certificates and passwords of one replica, from the files that `cluster.json` names. They are read again when a file
 * changes, and when told to (SIGHUP): connections made from then on have the new ones. Files that are no good leave what
 * there was in use, with an error in the log.
 */
export class ReplicaSecurity {
  /** Shown to peers, and what theirs are verified with. */
  readonly peers: TlsCredentials | undefined;
  /** Shown to clients; verifies those certificates of clients that let them in. */
  readonly clients: TlsCredentials | undefined;
  readonly authenticator: Authenticator | undefined;
  /** For the client ports of the other replicas. */
  readonly access: ClientAccess;
  readonly #init: SecurityInit;
  readonly #watched: Watched[] = [];
  readonly #passwords: PasswordAuthenticator | null;
  readonly #timer: Timer;
  #warnAtMs = 0;

  /** Throws `ConfigError` naming the file for what can't be read, does not fit together, has expired or names another replica. */
  constructor(init: SecurityInit) {
    this.#init = init;
    const { config, scheduler, events } = init;
    const { security = {} } = config;
    const { peers, clients } = security;
    this.peers = peers && this.#watch("peers", peers, () => this.#replicaPem(peers));
    this.clients = clients && this.#watch("clients", clients, () => this.#serverPem(clients));
    const tls = clients && this.#watch("client ca", clients, () => this.#caPem(clients));
    const login = loginOf(security);
    this.access = { tls, login };
    this.#passwords = authenticatesClients(security)
      ? new PasswordAuthenticator({
          scheduler,
          events,
          passwords: security.passwords ?? {},
          secrets: security.secret === undefined ? {} : { [REPLICA_USER]: security.secret },
        })
      : null;
    this.authenticator = this.#passwords ?? undefined;
    this.#timer = scheduler.timer(() => {
      this.#lookForChanges();
      if (scheduler.clock.monotonicMs() >= this.#warnAtMs) this.#warnOfExpiry();
      this.#watchOn();
    });
    this.#warnOfExpiry();
    this.#watchOn();
  }

  /** How this replica's own process comes in at its ports, to see that they work. */
  get own(): ClientSecurity {
    return directorySecurity(this.#init.directory, this.#init.config);
  }

  /** Reads everything anew. `security` is what `cluster.json` has now. */
  reload(security: SecurityConfig = {}): void {
    for (const watched of this.#watched) this.#exchange(watched);
    const { events, config } = this.#init;
    const restart = needsRestart(config.security ?? {}, security);
    if (restart !== null)
      events.error("security-not-reloaded", { reason: `${restart} takes effect at the next start` });
    if (this.#passwords === null) return;
    const { passwords = {} } = security;
    try {
      this.#passwords.replace(passwords);
      events.info("passwords-reloaded", { users: Object.keys(passwords).length });
    } catch (error) {
      events.error("passwords-not-reloaded", { reason: (error as Error).message });
    }
  }

  close(): void {
    this.#timer.clear();
  }

  #watchOn(): void {
    const { clock } = this.#init.scheduler;
    if (this.#watched.length > 0) this.#timer.set(clock.monotonicMs() + WATCH_MS);
  }

  #watch(
    role: string,
    files: TlsFiles & { readonly clientCa?: string | undefined },
    read: () => TlsPem,
  ): TlsCredentials {
    const names = [files.cert, files.key, files.ca, files.clientCa].filter((name) => name !== undefined);
    const paths = names.map((name) => this.#path(name));
    const certificates = paths.filter((path) => path !== this.#path(files.key));
    const seen = standing(paths);
    const credentials = credentialsOf(role, read());
    this.#watched.push({ role, paths, certificates, credentials, read, seen });
    return credentials;
  }

  #lookForChanges(): void {
    for (const watched of this.#watched) {
      if (standing(watched.paths) !== watched.seen) this.#exchange(watched);
    }
  }

  #exchange(watched: Watched): void {
    const { role, credentials, paths } = watched;
    const { events } = this.#init;
    watched.seen = standing(paths);
    try {
      const pem = watched.read();
      credentials.replace(pem);
      const until = pem.cert === null ? {} : { validTo: new X509Certificate(pem.cert).validTo };
      events.info("certificates-reloaded", { role, ...until });
      this.#warnOfExpiry();
    } catch (error) {
      events.error("certificates-not-reloaded", { role, reason: (error as Error).message });
    }
  }

  /** Authorities too: when theirs ends, so does the trust in all that they have signed. */
  #warnOfExpiry(): void {
    const { clock } = this.#init.scheduler;
    this.#warnAtMs = clock.monotonicMs() + DAY_MS;
    for (const path of new Set(this.#watched.flatMap(({ certificates }) => certificates))) {
      for (const validTo of endsOf(path)) {
        if (Date.parse(validTo) - clock.wallMs() >= EXPIRY_WARNING_MS) continue;
        this.#init.events.warn("certificate-expires", { path, validTo });
      }
    }
  }

  /** The certificate shown to peers has to name this replica, or no peer would talk to it. */
  #replicaPem(files: TlsFiles): TlsPem {
    const { clusterId } = this.#init.config;
    const pem = this.#certificatePem(files);
    const named = replicaNamed(new X509Certificate(pem.cert).subjectAltName, clusterId);
    const uri = replicaUri(clusterId, this.#init.self);
    if (named !== this.#init.self) throw new ConfigError(`${this.#path(files.cert)} does not name ${uri}`);
    return { ...pem, ca: this.#read(files.ca) };
  }

  #serverPem(files: NonNullable<SecurityConfig["clients"]>): TlsPem {
    const ca = files.clientCa === undefined ? null : this.#read(files.clientCa);
    return { ...this.#certificatePem(files), ca };
  }

  #caPem(files: TlsFiles): TlsPem {
    return { cert: null, key: null, ca: this.#read(files.ca) };
  }

  #certificatePem(files: TlsFiles): { readonly cert: string; readonly key: string } {
    const cert = this.#read(files.cert);
    const path = this.#path(files.cert);
    let leaf: X509Certificate;
    try {
      leaf = new X509Certificate(cert);
    } catch {
      throw new ConfigError(`${path} is no certificate in PEM form`);
    }
    if (Date.parse(leaf.validTo) < this.#init.scheduler.clock.wallMs()) {
      throw new ConfigError(`${path} has expired: ${leaf.validTo}`);
    }
    return { cert, key: this.#read(files.key) };
  }

  #read(name: string): string {
    return readPem(this.#path(name));
  }

  #path(name: string): string {
    return resolve(this.#init.directory, name.replaceAll("{id}", String(this.#init.self)));
  }
}

/** How whoever can read the cluster's directory reaches the client ports of its replicas. Throws `ConfigError`. */
export function directorySecurity(directory: string, config: ClusterConfig): ClientSecurity {
  const { security = {}, clusterId } = config;
  const { clients, secret } = security;
  return {
    ...(clients === undefined ? {} : { tls: { ca: readPem(resolve(directory, clients.ca)) }, clusterId }),
    ...(authenticatesClients(security) ? { user: REPLICA_USER, password: secret } : {}),
  };
}

function loginOf(security: SecurityConfig): Login | undefined {
  const { secret } = security;
  if (!authenticatesClients(security) || secret === undefined) return undefined;
  return { user: REPLICA_USER, password: Buffer.from(secret) };
}

function credentialsOf(role: string, pem: TlsPem): TlsCredentials {
  try {
    return new TlsCredentials(pem);
  } catch (error) {
    throw new ConfigError(`security.${role}: certificate, key and ca do not fit together: ${(error as Error).message}`);
  }
}

/** Throws `ConfigError` for a file that can't be read. */
export function readPem(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(`${path} can't be read: ${(error as Error).message}`);
  }
}

/** The ends of all certificates in a file; none of what can't be read, which is complained about where it is used. */
function endsOf(path: string): string[] {
  try {
    const blocks = readFileSync(path, "utf8").match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    return blocks.map((block) => new X509Certificate(block).validTo);
  } catch {
    return [];
  }
}

/** The first thing in which two configurations differ that a running replica can't exchange, or null. */
function needsRestart(had: SecurityConfig, has: SecurityConfig): string | null {
  const names = (files: SecurityConfig["clients"]): string =>
    files === undefined ? "" : [files.cert, files.key, files.ca, files.clientCa].join("\n");
  if (names(had.peers) !== names(has.peers)) return "security.peers";
  if (names(had.clients) !== names(has.clients)) return "security.clients";
  if (had.secret !== has.secret) return "security.secret";
  return authenticatesClients(had) === authenticatesClients(has) ? null : "security.passwords";
}

function standing(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat === undefined ? "-" : `${stat.mtimeMs} ${stat.size} ${stat.ino}`;
    })
    .join(" ");
}
