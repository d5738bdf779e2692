import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { MiB } from "../base/index.js";
import { type ClusterConfig, ConfigError, ExitCode, parseAddress, SynodError } from "../model/index.js";
import { lockHolder } from "../platform/index.js";
import {
  assertAbsent,
  type BackupOffer,
  BackupRefusedError,
  BackupWriter,
  type ClientAddress,
  type ClientSecurity,
  directorySecurity,
  fetchBackup,
  loadCluster,
  openCluster,
  type ReplicaQuery,
  replicaDirectory,
  Supervisor,
} from "../runtime/index.js";
import type { BackupFlags } from "./backup-command.js";
import { givenSecurity, securityOver } from "./client-security-option.js";
import { dialled, discover, statusOf, withQuery } from "./cluster-status.js";
import { ExitError } from "./exit.js";
import { createOutput, type Output, painted } from "./output.js";
import { onStopSignal } from "./stop-signal.js";

/** How long the replica that is asked may take to execute what was acknowledged before. */
const CAUGHT_UP_MS_MAX = 30_000;
const POLL_MS = 20;
/** Threads of several groups are called to a barrier this often, in ms, until the checkpoint has been taken there. */
const BARRIER_MS = 500;
/** How long a replica is asked again that has other backups to send. */
const REFUSED_MS_MAX = 120_000;

/** What there is to undo when the command ends, on whichever way. */
interface Cleanup {
  writer: BackupWriter | null;
  supervisor: Supervisor | null;
}

/** The running replicas of a cluster, and how to come in there. */
interface Source {
  readonly replicas: readonly ClientAddress[];
  readonly security: ClientSecurity;
}

/** Writes the state of a cluster to a file. Exit code 1 if no replica could send it. */
export async function runBackup(file: string, flags: BackupFlags): Promise<number> {
  const output = createOutput(flags.json === true);
  if (flags.data !== undefined && flags.address !== undefined) {
    throw new ConfigError("--data and --address exclude each other");
  }
  assertAbsent(file);
  const cleanup: Cleanup = { writer: null, supervisor: null };
  const interrupted = (): never => {
    output.progress("");
    process.exit(ExitCode.interrupted);
  };
  onStopSignal(
    () => void undo(cleanup).finally(interrupted),
    () => {
      cleanup.supervisor?.abandon();
      interrupted();
    },
  );
  const startedMs = performance.now();
  try {
    const source = await runningReplicas(flags, cleanup, output);
    const target = await caughtUpReplica(source, flags.address);
    const { offer, bytes } = await fetchTo(file, target, source, cleanup, output);
    const seconds = Number(((performance.now() - startedMs) / 1000).toFixed(3));
    output.progress("");
    const { clusterId, digest, replica, service, through } = offer;
    output.event({ event: "backup", file, bytes, service, cluster_id: clusterId, replica, through, digest, seconds });
    output.line(
      `${painted(output, "green", "✔")} ${file}: ${(bytes / MiB).toFixed(1)} MiB of service ${service} from r${replica} ` +
        `in ${seconds.toFixed(1)} s`,
    );
    return ExitCode.ok;
  } finally {
    output.progress("");
    await undo(cleanup);
  }
}

async function undo(cleanup: Cleanup): Promise<void> {
  const { writer, supervisor } = cleanup;
  cleanup.writer = null;
  cleanup.supervisor = null;
  await writer?.abort();
  await supervisor?.stop();
}

/** The replicas of the cluster. One that is stopped as a whole, on this machine, is started for the time of the backup. */
async function runningReplicas(flags: BackupFlags, cleanup: Cleanup, output: Output): Promise<Source> {
  if (flags.address !== undefined) {
    parseAddress(flags.address);
    const security = givenSecurity(flags) ?? {};
    const replicas = await discover(flags.address, security);
    return { replicas, security };
  }
  const directory = flags.data ?? "./synod-data";
  const config = await loadCluster(directory);
  const security = securityOver(directorySecurity(directory, config), flags);
  const source: Source = { replicas: config.replicas, security };
  const folders = config.replicas.map(({ id }) => replicaDirectory(directory, id));
  const asleep = folders.every((folder) => existsSync(folder) && lockHolder(folder) === null);
  if (!asleep && (await anyAnswers(source))) return source;
  const away = config.replicas.filter(({ id }) => !existsSync(replicaDirectory(directory, id)));
  if (away.length > 0) {
    const names = away.map(({ id }) => `r${id}`).join(", ");
    throw new ExitError(
      ExitCode.failed,
      `no replica answers, and ${directory} does not hold all of them (${names}): start the cluster, then take the backup`,
    );
  }
  output.progress("  the cluster is stopped: starting it for the backup");
  cleanup.supervisor = await started(directory, flags);
  return source;
}

async function anyAnswers({ replicas, security }: Source): Promise<boolean> {
  const answers = await withQuery(
    replicas.map(({ client }) => client),
    (query) => Promise.all(replicas.map((_, index) => statusOf(query, index))),
    security,
  );
  return answers.some((answer) => answer !== null);
}

/** Starts every replica of a directory and resolves when all are ready. */
async function started(directory: string, flags: BackupFlags): Promise<Supervisor> {
  const { config }: { readonly config: ClusterConfig } = await openCluster(directory, {});
  return new Promise((resolve, reject) => {
    const supervisor = new Supervisor(directory, config, flags.logLevel ?? "warn", {
      onReady() {
        if (supervisor.replicas.every(({ ready }) => ready)) resolve(supervisor);
      },
      onLeader: () => undefined,
      onDeath(id, reason, code) {
        const failure = new ExitError(code || ExitCode.failed, `replica ${id}: ${reason}`);
        void supervisor.stop().finally(() => reject(failure));
      },
    });
    for (const { id } of config.replicas) supervisor.start(id);
  });
}

/**
 * The client address of a replica that has executed everything that was acknowledged when this was called: it has taken the
 * digest that a command ordered since then asks for. With `address` that one, else a follower if there is one.
 */
async function caughtUpReplica({ replicas, security }: Source, address: string | undefined): Promise<string> {
  return withQuery(
    replicas.map(({ client }) => client),
    async (query) => {
      const statuses = await Promise.all(replicas.map((_, index) => statusOf(query, index)));
      const leader = statuses.findIndex((status) => status?.role === "leader");
      const nonce = randomBytes(16).toString("hex");
      const ordered = leader < 0 ? null : await query.status(leader, { want: "digest", nonce }, 2000).catch(() => null);
      if ((ordered as { ordered?: boolean } | null)?.ordered !== true) {
        throw new ExitError(ExitCode.failed, "no quorum: the cluster can't say what it has acknowledged");
      }
      const candidates = replicas
        .map((replica, index) => ({ client: replica.client, index, status: statuses[index] ?? null }))
        .filter(({ client, status }) => status !== null && (address === undefined || client === address));
      const followers = candidates.filter(({ status }) => status?.role === "follower");
      const chosen = followers[0] ?? candidates[0];
      // An address by another name than the cluster's own is that of no candidate; it is the leader then that is asked.
      const index = chosen?.index ?? leader;
      const deadlineMs = performance.now() + CAUGHT_UP_MS_MAX;
      while (performance.now() < deadlineMs) {
        const answer = await query.status(index, { want: "digestOf", nonce }, 2000).catch(() => null);
        if (typeof (answer as { position?: unknown } | null)?.position === "number") {
          return (replicas[index] as ClientAddress).client;
        }
        await setTimeout(POLL_MS);
      }
      const limit = `${CAUGHT_UP_MS_MAX / 1000} s`;
      throw new ExitError(
        ExitCode.failed,
        `r${replicas[index]?.id} did not reach the last acknowledged command in ${limit}`,
      );
    },
    security,
  );
}

/** Fetches the checkpoint into the file, asking again while the replica is busy with others. */
async function fetchTo(
  file: string,
  address: string,
  source: Source,
  cleanup: Cleanup,
  output: Output,
): Promise<{ readonly offer: BackupOffer; readonly bytes: number }> {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  const deadlineMs = performance.now() + REFUSED_MS_MAX;
  for (;;) {
    const { port, scheduler } = dialled([address], source.security);
    const offered = new AbortController();
    const barriers = callBarriers(source, offered.signal);
    try {
      let total = 0;
      const offer = await fetchBackup(port, scheduler, {
        async begin(offer) {
          offered.abort();
          const { bytes, transfer: _transfer, ...cluster } = offer;
          total = bytes;
          cleanup.writer = await BackupWriter.create(file, {
            createdAt: new Date().toISOString(),
            program: version,
            ...cluster,
          });
        },
        async write(chunk) {
          const { writer } = cleanup;
          if (writer === null) throw new SynodError("SYNOD_CLOSED", "the backup was given up");
          await writer.write(chunk);
          output.progress(`  ${(writer.bytes / MiB).toFixed(1)} of ${(total / MiB).toFixed(1)} MiB`);
        },
      });
      const { writer } = cleanup;
      if (writer === null) throw new SynodError("SYNOD_CLOSED", "the backup was given up");
      await writer.commit();
      cleanup.writer = null;
      return { offer, bytes: writer.bytes };
    } catch (error) {
      const wait = error instanceof BackupRefusedError ? error.retryMs : 0;
      if (wait === 0 || performance.now() + wait > deadlineMs) throw error;
      output.progress(`  waiting: ${(error as Error).message}`);
      await setTimeout(wait);
    } finally {
      offered.abort();
      await barriers;
      await new Promise<void>((resolve) => port.close(resolve));
    }
  }
}

/**
 * The state of several groups is saved where all threads meet, for a command that concerns all of them. A cluster that nobody uses
 * has none, so digests are ordered, which change nothing, until there is an offer. A single group needs no such thing.
 */
async function callBarriers({ replicas, security }: Source, offered: AbortSignal): Promise<void> {
  if ((replicas[0]?.members?.length ?? 0) === 0) return;
  const clients = replicas.map(({ client }) => client);
  const call = async (query: ReplicaQuery): Promise<void> => {
    while (!offered.aborted) {
      const question = { want: "digest", nonce: randomBytes(16).toString("hex") };
      // Whoever leads orders it; those who do not, or do not answer, are no failure of the backup.
      await Promise.allSettled(clients.map((_, index) => query.status(index, question, 2 * BARRIER_MS)));
      await setTimeout(BARRIER_MS, undefined, { signal: offered }).catch(() => undefined);
    }
  };
  await withQuery(clients, call, security).catch(() => undefined);
}
