import { readFileSync } from "node:fs";
import type { AdminServer } from "../gateway/admin/index.js";
import type { ClusterConfig, ReplicaAddress } from "../model/index.js";
import type { ReplicaReading } from "../runtime/index.js";

/**
 * How long after its configuration is read a replica that has not recovered yet begins to answer on its admin port. Most
 * have recovered by then, and several that start on a few cores should not compete with what only their watchers need.
 */
const ADMIN_AFTER_MS = 1000;

/** The admin port of a replica's process: what the main thread does for those who watch the replica. */
export interface ReplicaAdmin {
  /** The configuration is known; the port opens soon, at the latest when `open` is called. */
  prepare(id: number, address: ReplicaAddress, config: ClusterConfig): void;
  /** Resolves when the port is open, at once if the replica has none. Rejects with `ListenError`. */
  open(): Promise<void>;
  /** The replica's thread answered. */
  onReading(serial: number, reading: ReplicaReading | null): void;
  close(): void;
}

/** `read` asks the replica's thread for a reading; `onError` is told why the port can't be opened. */
export function createReplicaAdmin(read: (serial: number) => void, onError: (error: Error) => void): ReplicaAdmin {
  let start: (() => Promise<AdminServer>) | null = null;
  let opening: Promise<AdminServer | null> | null = null;
  let closed = false;
  let serial = 0;
  let answer: (reading: ReplicaReading | null) => void = () => undefined;

  function open(): Promise<AdminServer | null> {
    if (opening !== null || start === null || closed) return opening ?? Promise.resolve(null);
    opening = start();
    opening.then(
      (server) => {
        if (closed) server?.close();
      },
      (error: Error) => onError(error),
    );
    return opening;
  }

  return {
    prepare(id, address, config) {
      const listen = address.admin ?? null;
      if (listen === null) return;
      start = async () => {
        const { startAdminServer } = await import("../gateway/admin/index.js");
        const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
        const { version } = JSON.parse(manifest) as { version: string };
        return startAdminServer({
          listen,
          facts: { version, replica: id, config },
          // The server asks once at a time, so only the newest question is still waited for.
          read: () =>
            new Promise((resolve) => {
              answer = resolve;
              read(++serial);
            }),
        });
      };
      setTimeout(() => void open().catch(() => undefined), ADMIN_AFTER_MS).unref();
    },
    async open() {
      await open();
    },
    onReading(of, reading) {
      if (of === serial) answer(reading);
    },
    close() {
      closed = true;
      void opening?.then((server) => server?.close()).catch(() => undefined);
    },
  };
}
