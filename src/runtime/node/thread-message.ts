import { AssertionError } from "../../base/index.js";
import {
  type ClusterConfig,
  ConfigError,
  DivergedError,
  ExitCode,
  type ReplicaAddress,
  type ReplicaId,
  StorageError,
  SynodError,
} from "../../model/index.js";
import type { ReplicaOptions } from "../replica/api.js";
import type { ReplicaReading } from "./reading.js";
import type { ClientSecurity } from "../client/client-access.js";

/** What a replica's thread is started with. */
export interface ReplicaThreadData {
  readonly self: ReplicaId;
  /** The cluster's directory; the replica's own is `replica-ID` in it. */
  readonly directory: string;
  /** True if whoever started this process has just checked the shape of `cluster.json`. */
  readonly checked: boolean;
  /** Allows addresses beyond this machine, on which anybody can read and write everything. */
  readonly insecureNetwork: boolean;
  readonly options: Partial<ReplicaOptions>;
}

/** From the main thread to a replica's thread. */
export type ToReplicaThread =
  /** Hand over, close ports and log, then say `stopped`. */
  | { readonly kind: "stop" }
  /** Read certificates and passwords anew. */
  | { readonly kind: "reload" }
  /** Say a `reading` with this serial number. */
  | { readonly kind: "read"; readonly serial: number };

/** From a replica's thread to the main thread. */
export type FromReplicaThread =
  | {
      readonly kind: "log";
      readonly level: "info" | "warn" | "error";
      readonly event: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  /** The configuration is read; what follows may take long. */
  | { readonly kind: "opened"; readonly address: ReplicaAddress; readonly config: ClusterConfig }
  /** Where the replica stands; null while it is being opened. */
  | { readonly kind: "reading"; readonly serial: number; readonly reading: ReplicaReading | null }
  /** The replica takes part, and its ports are open. */
  | { readonly kind: "recovered"; readonly address: ReplicaAddress; readonly own: ClientSecurity }
  /** The replica believes that this one leads; 0 if it knows of none. */
  | { readonly kind: "leader"; readonly leader: ReplicaId }
  /** It can't go on or never began; the process ends with this exit code. */
  | { readonly kind: "failed"; readonly exitCode: number; readonly message: string; readonly stack: string }
  | { readonly kind: "stopped" };

/** An error as a message; `exitCode` is for errors that the product contract does not name. */
export function failureOf(error: unknown, exitCode: number): Extract<FromReplicaThread, { readonly kind: "failed" }> {
  return {
    kind: "failed",
    exitCode: contractExitCode(error) ?? exitCode,
    message: error instanceof Error ? error.message : String(error),
    stack: error instanceof Error ? (error.stack ?? "") : "",
  };
}

function contractExitCode(error: unknown): number | null {
  if (error instanceof ConfigError) return ExitCode.usage;
  if (error instanceof StorageError) return error.diskFull ? ExitCode.diskFull : ExitCode.fatal;
  if (error instanceof AssertionError || error instanceof DivergedError) return ExitCode.fatal;
  return error instanceof SynodError ? ExitCode.failed : null;
}
