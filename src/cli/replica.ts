import { ExitCode, type ReplicaAddress } from "../model/index.js";
import type { FromReplicaThread, ReplicaReport } from "../runtime/index.js";
import { takeOverSignals } from "./early-signal.js";
import { firstWrite } from "./first-write.js";
import { defaultLogLevel } from "./log-level.js";
import { createOperationLog } from "./operation-log.js";
import { createOutput, painted } from "./output.js";
import type { ReplicaFlags } from "./replica-command.js";
import { redisCli } from "./redis-cli.js";
import { createReplicaAdmin } from "./replica-admin.js";
import { startReplicaThread } from "./replica-thread.js";
import { onStopSignal } from "./stop-signal.js";

/** A graceful stop that takes longer is given up: the log on disk is complete at every moment. */
const STOP_MS_MAX = 8000;
/** The same when the supervisor was killed: nobody waits for this process, and its ports may be wanted at once. */
const ORPHAN_STOP_MS_MAX = 1000;

/**
 * The process of one replica: this thread has signals, output and the log of operation, the other one the replica. Resolves with
 * the exit code when the replica has ended.
 */
export function runReplica(id: number, flags: ReplicaFlags): Promise<number> {
  const supervised = flags.supervised === true;
  const output = createOutput(flags.json === true);
  const log = createOperationLog(flags.logLevel ?? defaultLogLevel(), { replica: id });

  return new Promise((resolve) => {
    let exitCode: number | null = null;
    let stopping = false;

    const thread = startReplicaThread(
      {
        self: id,
        directory: flags.data,
        checked: supervised,
        insecureNetwork: flags.insecureNetwork === true,
        options: {},
      },
      { onMessage, onExit: () => resolve(exitCode ?? (stopping ? ExitCode.ok : ExitCode.fatal)) },
    );

    const admin = createReplicaAdmin(
      (serial) => thread.read(serial),
      (error) => fail(ExitCode.failed, error.message, error.stack ?? ""),
    );

    function onMessage(message: FromReplicaThread): void {
      switch (message.kind) {
        case "opened":
          admin.prepare(id, message.address, message.config);
          break;
        case "reading":
          admin.onReading(message.serial, message.reading);
          break;
        case "log":
          log[message.level](message.event, message.fields);
          break;
        case "recovered":
          log.info("recovered");
          Promise.all([admin.open(), firstWrite(message.address, message.own)]).then(
            () => {
              if (stopping || exitCode !== null) return;
              report({ kind: "ready" });
              sayReady(message.address, (message.own.tls ?? false) !== false);
            },
            () => undefined,
          );
          break;
        case "leader":
          report({ kind: "leader", leader: message.leader });
          break;
        case "failed":
          fail(message.exitCode, message.message, message.stack);
          break;
        case "stopped":
          resolve(exitCode ?? ExitCode.ok);
          break;
      }
    }

    function fail(code: number, message: string, stack: string): void {
      // The first failure is the cause; what follows it is its consequence.
      if (exitCode !== null) return;
      exitCode = code;
      report({ kind: "failed", exitCode: code, message });
      log.error("replica stops", { reason: message, ...(code === ExitCode.fatal ? { stack } : {}) });
      if (!supervised) process.stderr.write(`synod: replica ${id}: ${message}\n`);
      resolve(code);
    }

    function stop(reason: string, limitMs = STOP_MS_MAX): void {
      if (stopping) return;
      stopping = true;
      log.info("stopping", { reason });
      admin.close();
      thread.stop();
      setTimeout(() => {
        log.error("the graceful stop took too long", { limitMs });
        resolve(ExitCode.failed);
      }, limitMs).unref();
    }

    function report(what: ReplicaReport): void {
      if (process.connected === true) process.send?.(what, undefined, undefined, () => undefined);
    }

    function sayReady(own: ReplicaAddress, tls: boolean): void {
      const entry = { id, pid: process.pid, resp: own.resp, client: own.client, admin: own.admin ?? null };
      output.event({ event: "ready", dashboard: null, ...entry, replicas: [entry] });
      const where = own.resp === null ? `clients ${own.client}` : redisCli(own.resp, tls);
      output.line(
        `${painted(output, "green", "✔")} replica r${id} ready in ${process.uptime().toFixed(1)} s · ${where}`,
      );
    }

    if (supervised) {
      // Ctrl-C on a terminal reaches the whole process group; the supervisor decides what it means.
      process.on("SIGINT", () => undefined);
      process.on("SIGHUP", () => undefined);
      process.on("SIGTERM", () => stop("SIGTERM"));
      takeOverSignals();
      process.on("disconnect", () => stop("supervisor gone", ORPHAN_STOP_MS_MAX));
      if (process.connected !== true) stop("supervisor gone", ORPHAN_STOP_MS_MAX);
    } else {
      // On a terminal SIGHUP says that it is gone; elsewhere it asks for new certificates and passwords.
      const terminal = process.stdin.isTTY || process.stderr.isTTY;
      if (!terminal) process.on("SIGHUP", () => thread.reload());
      onStopSignal(
        () => stop("signal"),
        () => process.exit(ExitCode.interrupted),
        terminal ? ["SIGINT", "SIGTERM", "SIGHUP"] : ["SIGINT", "SIGTERM"],
      );
    }
  });
}
