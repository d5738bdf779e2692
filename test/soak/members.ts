/** What a nemesis needs of a cluster, wherever its replicas run. */
export interface MemberStatus {
  readonly id: number;
  readonly role: string;
  readonly pid: number | null;
  readonly digest: { readonly positions: readonly number[]; readonly hex: string } | null;
}

export interface Members {
  readonly ids: readonly number[];
  /** RESP addresses; empty for a service without. */
  readonly respAddresses: readonly string[];
  readonly clientAddresses: readonly string[];
  /** Where a replica keeps its log, checkpoints and identity. */
  home(id: number): string;
  /** Kills -9 and resolves when the process is gone. */
  kill(id: number): Promise<void>;
  stop(id: number): void;
  continue(id: number): void;
  /** Starts a dead replica again; resolves when it is ready, which needs a quorum. */
  restart(id: number): Promise<void>;
  leader(): Promise<number>;
  status(): Promise<{ readonly replicas: readonly MemberStatus[] } | null>;
  /** Stops everything; resolves with the worst exit code. Idempotent. */
  close(): Promise<number | null>;
}
