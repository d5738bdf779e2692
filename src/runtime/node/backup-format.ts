/**
 * The format of a backup file. Numbers are little-endian; each checksum begins from the one before it, so parts can be
 * neither exchanged nor left out.
 *
 * | part | bytes | what |
 * |---|---|---|
 * | header | 8 | "SYNODBAK" |
 * | | u32, u32 | format version, length of the facts |
 * | | length | the facts: a JSON object in UTF-8, at most 64 KiB |
 * | | u32 | CRC-32 of all that |
 * | each chunk | u32, u32 | length (at least 1, at most 16 MiB), CRC-32 of its bytes |
 * | | length | its bytes |
 * | footer | u32, u32 | 0, CRC-32 of the rest |
 * | | f64, f64 | bytes and number of all chunks |
 *
 * The chunks together are a checkpoint as the replicated state writes it: with several groups, a cut through all streams. Every version keeps the first 12 bytes as they are.
 */
import { encodeUtf8, KiB, MiB } from "../../base/index.js";
import type { ClusterConfig } from "../../model/index.js";
import { areGroupFacts } from "../replica/backup-serving.js";

export const BACKUP_MAGIC = encodeUtf8("SYNODBAK");
export const BACKUP_VERSION = 1;
export const BACKUP_FACTS_BYTES_MAX = 64 * KiB;
export const BACKUP_CHUNK_BYTES_MAX = 16 * MiB;
/** Magic, version and length of the facts. */
export const BACKUP_HEAD_BYTES = 16;
/** Zero length, checksum, and the two totals. */
export const BACKUP_FOOTER_BYTES = 24;

/** What a backup says of itself. */
export interface BackupFacts {
  /** When it was made, by the clock of the machine that made it: ISO 8601, UTC. */
  readonly createdAt: string;
  /** Version of the program that made it. */
  readonly program: string;
  readonly clusterId: string;
  /** The replica whose checkpoint it is, and how many the cluster had. */
  readonly replica: number;
  readonly replicas: number;
  readonly service: string;
  readonly ordering: string;
  readonly execution: string;
  readonly reads: string;
  readonly groups: number;
  /** Of a cluster with several groups: how they are merged, where threads meet, and what opt-PSMR adds. */
  readonly merge?: ClusterConfig["merge"];
  readonly barrier?: ClusterConfig["barrier"];
  readonly resubmit?: ClusterConfig["resubmit"];
  readonly bounds?: ClusterConfig["bounds"];
  readonly durability: string;
  /** The state is that behind this instance, of g_all with several groups, and has this digest. */
  readonly through: number;
  readonly digest: string;
}

const TEXT_FIELDS = [
  "createdAt",
  "program",
  "clusterId",
  "service",
  "ordering",
  "execution",
  "reads",
  "durability",
  "digest",
] as const;
const NUMBER_FIELDS = ["replica", "replicas", "groups", "through"] as const;

export function isBackupFacts(value: unknown): value is BackupFacts {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return (
    TEXT_FIELDS.every((name) => typeof fields[name] === "string") &&
    NUMBER_FIELDS.every((name) => Number.isSafeInteger(fields[name]) && (fields[name] as number) >= 0) &&
    areGroupFacts(fields) &&
    /^[0-9a-f]{0,1024}$/.test(fields["digest"] as string)
  );
}
