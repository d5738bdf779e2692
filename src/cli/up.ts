import { rmSync } from "node:fs";
import { type ClusterConfig, ExitCode, type ReplicaId } from "../model/index.js";
import { directorySecurity, openCluster, Supervisor } from "../runtime/index.js";
import { ExitError } from "./exit.js";
import { defaultLogLevel } from "./log-level.js";
import { createOutput, type Output, painted } from "./output.js";
import { onStopSignal } from "./stop-signal.js";
import type { UpFlags } from "./up-command.js";
import type { Keyboard } from "./up-keyboard.js";

/** A cluster that is not ready yet says this often whom it waits for, in ms. */
const WAITING_MS = 5000;

/** Runs a local cluster until a signal or [q] ends it. Resolves with the exit code when every child is reaped. */
export async function runUp(flags: UpFlags): Promise<number> {
  const output = createOutput(flags.json === true);
  const { config, created } = await openCluster(flags.data, flags);
  if (config.replicas.length === 2) {
    process.stderr.write(
      "synod: 2 replicas tolerate no failure, since both are needed for a majority; 3 tolerate one\n",
    );
  }
  try {
    return await runCluster(flags, config, output);
  } catch (error) {
    // A cluster whose replicas refuse their configuration never was one: the next attempt is not to find what is left of it.
    const refused = error instanceof ExitError && error.exitCode === ExitCode.usage;
    if (created && refused) rmSync(flags.data, { recursive: true, force: true, maxRetries: 3 });
    throw error;
  }
}

function runCluster(flags: UpFlags, config: ClusterConfig, output: Output): Promise<number> {
  return new Promise((resolve, reject) => {
    let ready = false;
    let ending = false;
    let keyboard: Keyboard | null = null;
    // This process outlives all its replicas, also when nothing else keeps its loop busy.
    const vigil = setInterval(() => {
      if (!ready && !ending) process.stderr.write(`synod: ${waitingFor(supervisor)}\n`);
    }, WAITING_MS);

    const supervisor = new Supervisor(flags.data, config, flags.logLevel ?? defaultLogLevel(), {
      onReady(id) {
        if (ready) {
          output.event({ event: "up", id });
          output.line(`${painted(output, "green", "✔")} r${id} is back`);
        } else if (supervisor.replicas.every((replica) => replica.ready)) {
          ready = true;
          sayReady(output, config, supervisor, flags.data);
          if (process.stdin.isTTY && !output.json) void listenToKeys();
        }
      },
      onLeader(leader) {
        output.event({ event: "leader", id: leader });
        if (ready && !ending && (keyboard?.drilled ?? 0) === 0) output.line(`  r${leader} leads`);
      },
      onDeath(id, reason, exitCode) {
        output.event({ event: "died", id, reason, exit_code: exitCode });
        if (ready && keyboard?.drilled === id) return;
        if (ready) output.line(`${painted(output, "red", "✖")} r${id} died: ${reason}`);
        else end(new ExitError(exitCode || ExitCode.failed, `replica ${id}: ${reason}`));
      },
    });

    /** The keys bring load and checkers with them, which are loaded after everything is ready. */
    async function listenToKeys(): Promise<void> {
      const { startKeyboard } = await import("./up-keyboard.js");
      if (!ending) keyboard = startKeyboard(config, supervisor, output, stop, directorySecurity(flags.data, config));
    }

    function stop(): void {
      if (!ending) output.line("stopping");
      end(null);
    }

    function end(failure: ExitError | null): void {
      if (ending) return;
      ending = true;
      clearInterval(vigil);
      const cleared = keyboard?.close() ?? Promise.resolve();
      cleared
        .then(() => supervisor.stop())
        .then((graceful) => {
          if (failure !== null) throw failure;
          if (!graceful) throw new ExitError(ExitCode.failed, "a replica did not stop in time and was killed");
          resolve(ExitCode.ok);
        })
        .catch(reject);
    }

    onStopSignal(stop, () => {
      supervisor.abandon();
      process.exit(ExitCode.interrupted);
    });
    for (const replica of config.replicas) supervisor.start(replica.id);
  });
}

/** Whom a cluster that is not ready waits for, and why, as far as this process can know. */
function waitingFor(supervisor: Supervisor): string {
  const waiting = supervisor.replicas.filter((replica) => !replica.ready).map(({ address }) => `r${address.id}`);
  const { leader } = supervisor;
  const why =
    leader === 0
      ? "no leader is elected: a majority has to be up and to remember its votes"
      : `r${leader} leads, and no write has gone through their ports yet`;
  return `waiting for ${waiting.join(", ")} for ${Math.round(process.uptime())} s; ${why}`;
}

function sayReady(output: Output, config: ClusterConfig, supervisor: Supervisor, directory: string): void {
  const replicas = supervisor.replicas.map(({ address, pid }) => {
    return { id: address.id, pid, resp: address.resp, client: address.client, admin: address.admin ?? null };
  });
  output.event({ event: "ready", dashboard: null, replicas });
  const count = replicas.length === 1 ? "1 replica" : `${replicas.length} replicas`;
  const leader: ReplicaId = supervisor.leader;
  output.line(
    [
      `${painted(output, "green", "✔")} ${count} ready in ${process.uptime().toFixed(1)} s`,
      ...(leader === 0 ? [] : [`leader r${leader}`]),
      { fsync: "fsync on", os: "fsync off (durability os)", memory: "in memory only" }[config.durability],
      `data ${directory}`,
    ].join(" · "),
  );
  const [first] = replicas;
  const resp = first?.resp ?? null;
  if (resp !== null) output.line(`  store   redis-cli -p ${resp.split(":").at(-1)}`);
  else output.line(`  clients ${replicas.map((replica) => replica.client).join(" ")}`);
}
