import { Worker } from "node:worker_threads";
import { ExitCode } from "../model/index.js";
import type { FromReplicaThread, ReplicaThreadData, ToReplicaThread } from "../runtime/index.js";
import { messageOf } from "./exit.js";

/**
 * A replica in a thread of its own, seen from the main thread. The thread owns sockets, disk and state; the main thread
 * keeps signals and the log of operation, and so answers however busy the replica is.
 *
 * The main thread loads next to nothing, and of the runtime only types: three replicas that start on a few cores compete
 * for them, and how soon a cluster is ready is how much its processes load.
 */
export interface ReplicaThread {
  /** Asks for a graceful stop; `stopped` or an `exit` follows. Asking again changes nothing. */
  stop(): void;
  /** Has certificates and passwords read anew. */
  reload(): void;
  /** Asks where the replica stands; a `reading` with this number follows, unless the thread is stuck or gone. */
  read(serial: number): void;
}

export interface ReplicaThreadHandlers {
  onMessage(message: FromReplicaThread): void;
  /** The thread is gone; nothing follows. */
  onExit(): void;
}

export function startReplicaThread(data: ReplicaThreadData, handlers: ReplicaThreadHandlers): ReplicaThread {
  const worker = new Worker(new URL("./replica-thread-main.js", import.meta.url), {
    workerData: data,
    name: `replica-${data.self}`,
  });
  let stopping = false;
  worker.on("message", (message: FromReplicaThread) => handlers.onMessage(message));
  worker.on("error", (error) => {
    // Nothing in the thread has caught it: its invariants may be broken, so the process ends.
    const stack = error instanceof Error ? (error.stack ?? "") : "";
    handlers.onMessage({ kind: "failed", exitCode: ExitCode.fatal, message: messageOf(error), stack });
  });
  worker.on("exit", () => handlers.onExit());
  return {
    stop() {
      if (stopping) return;
      stopping = true;
      worker.postMessage({ kind: "stop" } satisfies ToReplicaThread);
    },
    reload() {
      worker.postMessage({ kind: "reload" } satisfies ToReplicaThread);
    },
    read(serial) {
      worker.postMessage({ kind: "read", serial } satisfies ToReplicaThread);
    },
  };
}
