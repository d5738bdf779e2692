import { Worker } from "node:worker_threads";
import { AssertionError } from "../../base/index.js";
import { ConfigError, ExitCode, StorageError, SynodError } from "../../model/index.js";
import type { FromReplicaThread, ReplicaThreadData, ToReplicaThread } from "./thread-message.js";

/**
 * A replica in a thread of its own, seen from the main thread. The thread owns sockets, disk and state; the main thread
 * keeps signals and the log of operation, and so answers however busy the replica is.
 */
export interface ReplicaThread {
  /** Asks for a graceful stop; `stopped` or an `exit` follows. Asking again changes nothing. */
  stop(): void;
}

export interface ReplicaThreadHandlers {
  onMessage(message: FromReplicaThread): void;
  /** The thread is gone; nothing follows. */
  onExit(): void;
}

/** Starts `entry`, a module that calls `runReplicaThread`, as the thread of a replica. */
export function startReplicaThread(
  entry: URL,
  data: ReplicaThreadData,
  handlers: ReplicaThreadHandlers,
): ReplicaThread {
  const worker = new Worker(entry, { workerData: data, name: `replica-${data.self}` });
  let stopping = false;
  worker.on("message", (message: FromReplicaThread) => handlers.onMessage(message));
  // An error that nothing in the thread has caught: its invariants may be broken, so the process ends.
  worker.on("error", (error) => handlers.onMessage(failureOf(error, ExitCode.fatal)));
  worker.on("exit", () => handlers.onExit());
  return {
    stop() {
      if (stopping) return;
      stopping = true;
      worker.postMessage({ kind: "stop" } satisfies ToReplicaThread);
    },
  };
}

/** An error as a message; `exitCode` is what the product contract has for errors that it does not name. */
export function failureOf(error: unknown, exitCode: number): FromReplicaThread {
  const named =
    error instanceof ConfigError
      ? ExitCode.usage
      : error instanceof StorageError
        ? error.diskFull
          ? ExitCode.diskFull
          : ExitCode.fatal
        : error instanceof AssertionError
          ? ExitCode.fatal
          : error instanceof SynodError
            ? ExitCode.failed
            : exitCode;
  return {
    kind: "failed",
    exitCode: named,
    message: error instanceof Error ? error.message : String(error),
    stack: error instanceof Error ? (error.stack ?? "") : "",
  };
}
