import { readFileSync } from "node:fs";
import { ConfigError, ExitCode, parseAddress } from "../model/index.js";
import { lockHolder } from "../platform/index.js";
import { directorySecurity, loadCluster, type OptimisticCounts, replicaDirectory } from "../runtime/index.js";
import { type ClusterStanding, digestsDiffer, digestsEqual, discover, standingOf } from "./cluster-status.js";
import { givenSecurity, securityOver } from "./client-security-option.js";
import { createOutput, grouped, painted } from "./output.js";
import type { StatusFlags } from "./status-command.js";

/** Prints where each replica stands. Exit code 1 when no quorum answered, or states differ. */
export async function runStatus(flags: StatusFlags): Promise<number> {
  const output = createOutput(flags.json === true);
  const standing = flags.address === undefined ? await ofDirectory(flags) : await ofAddress(flags);
  output.event({ replicas: standing.replicas });
  for (const replica of standing.replicas) {
    const colour = replica.role === "down" ? "red" : replica.role === "leader" ? "green" : "dim";
    const [group, ...groups] = replica.groups;
    const progress = group === undefined ? "" : `  decided ${group.decided}  executed ${group.executed}`;
    const digest =
      replica.digest === null
        ? ""
        : `  digest ${replica.digest.hex.slice(0, 12)}… at ${replica.digest.positions.join(",")}`;
    const pid = replica.pid === null ? "" : `  pid ${replica.pid}`;
    output.line(`r${replica.id}  ${painted(output, colour, replica.role.padEnd(10))}${pid}${progress}${digest}`);
    for (const own of groups) {
      const failed = own.optimistic === undefined ? "" : failedShare(own.optimistic);
      output.line(
        `    ${own.group}  ${own.role.padEnd(10)}  decided ${own.decided}  executed ${own.executed}${failed}`,
      );
    }
  }
  for (const { id, differing = [] } of standing.replicas) {
    if (differing.length === 0) continue;
    const others = differing.map((other) => `r${other}`).join(", ");
    output.line(`  ${painted(output, "red", `r${id} has found the state of ${others} to differ`)}: see its log`);
  }
  for (const { id, pid, role } of standing.replicas) {
    if (role === "down" && pid !== null) output.line(`  r${id}: ${whyDown(pid)}`);
  }
  if (!standing.quorum) {
    process.stderr.write("synod: no quorum: a digest command was not ordered within its time\n");
    return ExitCode.failed;
  }
  const reached = standing.replicas.filter((replica) => replica.digest !== null).length;
  if (digestsDiffer(standing)) {
    process.stderr.write("synod: the states of replicas differ at one position of the log: see docs/operations.md\n");
    return ExitCode.failed;
  }
  output.line(
    digestsEqual(standing)
      ? `state digests equal on ${reached}/${standing.replicas.length}`
      : `state digests equal on ${reached}, not told by the others that are up`,
  );
  return ExitCode.ok;
}

async function ofDirectory(flags: StatusFlags): Promise<ClusterStanding> {
  const { data = "./synod-data" } = flags;
  const config = await loadCluster(data);
  const standing = await standingOf(
    config.replicas,
    (id) => lockHolder(replicaDirectory(data, id)),
    securityOver(directorySecurity(data, config), flags),
  );
  const adminOf = new Map(config.replicas.map(({ id, admin = null }) => [id, admin]));
  return {
    ...standing,
    replicas: standing.replicas.map((replica) => ({ ...replica, admin: adminOf.get(replica.id) ?? null })),
  };
}

async function ofAddress(flags: StatusFlags): Promise<ClusterStanding> {
  if (flags.data !== undefined) throw new ConfigError("--data and --address exclude each other");
  const address = flags.address ?? "";
  parseAddress(address);
  const security = givenSecurity(flags) ?? {};
  return standingOf(await discover(address, security), () => null, security);
}

/** How many of the commands of a group have failed their safety check since the replica began; nothing before there are any. */
function failedShare({ failed, passed }: OptimisticCounts): string {
  const all = failed + passed;
  return all === 0 ? "" : `  failed ${((100 * failed) / all).toFixed(1)} % of ${grouped(all)}`;
}

/** Why a replica whose process lives does not answer, as far as the system tells. */
function whyDown(pid: number): string {
  let state = "";
  try {
    // The state is the first field behind the name, which is in parentheses.
    state = /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1] ?? "";
  } catch {
    // Not Linux, or the process has just ended.
  }
  if (state === "T" || state === "t") return `process ${pid} is stopped by a signal; kill -CONT ${pid} lets it go on`;
  return `process ${pid} is there and does not answer: it is starting, stopping or stuck (see its log)`;
}
