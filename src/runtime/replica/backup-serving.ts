import { decodeUtf8, encodeUtf8, MiB } from "../../base/index.js";
import { type ClusterConfig, FrameKind, GROUPS_CONFIGURED_MAX, type Instance } from "../../model/index.js";
import type { CheckpointInfo, CheckpointReader, CheckpointStore, FramePort } from "../../platform/index.js";

/** Bytes on their way to a client before it must have stored some: enough for 40 MB/s over a round trip of 100 ms. */
export const BACKUP_WINDOW_BYTES = 4 * MiB;
/** Nothing more is read for a client whose link holds so many unsent bytes. */
const UNSENT_BYTES_MAX = 4 * MiB;
/** A client that acknowledges nothing for this long is served no more, in ms. */
const STALLED_MS = 30_000;
/** A backup has a checkpoint taken at most this often, in ms: each one writes the whole state. */
export const BACKUP_CHECKPOINT_MS_MIN = 5000;

/** What a replica says of the checkpoint that it is about to send: facts of the cluster, and of the checkpoint. */
export interface BackupOffer {
  readonly transfer: number;
  readonly clusterId: string;
  readonly replica: number;
  readonly replicas: number;
  readonly service: string;
  readonly ordering: string;
  readonly execution: string;
  readonly reads: ClusterConfig["reads"];
  readonly groups: number;
  /** What else makes a cluster with several groups what it is; absent fields have their defaults. */
  readonly merge?: ClusterConfig["merge"];
  readonly barrier?: ClusterConfig["barrier"];
  readonly resubmit?: ClusterConfig["resubmit"];
  readonly bounds?: ClusterConfig["bounds"];
  readonly durability: ClusterConfig["durability"];
  /** The state is that behind this instance: of g_all, if there are several groups. */
  readonly through: Instance;
  readonly digest: string;
  /** Bytes of all chunks. */
  readonly bytes: number;
}

interface Serving {
  readonly port: FramePort;
  readonly link: number;
  readonly transfer: number;
  /** The checkpoint that is sent covers at least what was executed when it was asked for. */
  readonly wanted: Instance;
  reader: CheckpointReader | null;
  sent: number;
  acknowledged: number;
  /** Sizes of the chunks that are not acknowledged, oldest first, and their sum. */
  readonly unacknowledged: number[];
  unacknowledgedBytes: number;
  reading: boolean;
  touchedAt: number;
}

interface BackupServingInit {
  readonly self: number;
  readonly config: ClusterConfig;
  readonly store: CheckpointStore;
  readonly latest: () => CheckpointInfo | null;
  readonly executed: () => Instance;
  readonly now: () => number;
}

/**
 * Sends a checkpoint to a client, for a backup: `backupRequest` (u32 transfer) → `backupOffer` (JSON) and `backupChunk`s (u32
 * transfer, u32 index, u8 last, bytes) ← `backupAcknowledge` (u32 transfer, u32 next index), or `backupRefuse` (u32 transfer,
 * u32 ms after which to ask again, 0: never, then a reason). One client at a time; a later one is told to come again.
 */
export class BackupServing {
  readonly #init: BackupServingInit;
  #serving: Serving | null = null;
  /** When the last checkpoint that a backup wanted was begun. */
  #begunAt = -Infinity;

  constructor(init: BackupServingInit) {
    this.#init = init;
  }

  /** The instance that a checkpoint has to cover for a backup, 0 if none waits for one. */
  get wanted(): Instance {
    return this.#serving !== null && this.#serving.reader === null ? this.#serving.wanted : 0;
  }

  /** False for a malformed frame, or one of another kind. */
  onFrame(port: FramePort, link: number, kind: number, view: DataView, start: number, end: number): boolean {
    if (kind === FrameKind.backupRequest && end - start === 4) {
      this.#onRequest(port, link, view.getUint32(start, true));
      return true;
    }
    if (kind === FrameKind.backupAcknowledge && end - start === 8) {
      const serving = this.#serving;
      if (serving === null || serving.port !== port || serving.link !== link) return true;
      if (serving.transfer !== view.getUint32(start, true)) return true;
      const through = Math.min(serving.sent, view.getUint32(start + 4, true));
      for (; serving.acknowledged < through; serving.acknowledged++) {
        serving.unacknowledgedBytes -= serving.unacknowledged.shift() ?? 0;
      }
      serving.touchedAt = this.#init.now();
      this.#sendMore(serving);
      return true;
    }
    return false;
  }

  /** There is a newer checkpoint. */
  onCheckpoint(): void {
    const serving = this.#serving;
    if (serving !== null && serving.reader === null) this.#begin(serving);
  }

  onLinkDown(port: FramePort, link: number): void {
    if (this.#serving?.port === port && this.#serving.link === link) this.#stop();
  }

  onDrain(port: FramePort, link: number): void {
    if (this.#serving?.port === port && this.#serving.link === link) this.#sendMore(this.#serving);
  }

  /** Gives up a client that has stalled, and goes on with one whose link has drained. Called about once a second. */
  onTick(): void {
    const serving = this.#serving;
    if (serving === null) return;
    // While the checkpoint is being taken it is the client who waits.
    if (serving.reader === null) serving.touchedAt = this.#init.now();
    if (serving.touchedAt < this.#init.now() - STALLED_MS) this.#stop();
    else this.#sendMore(serving);
  }

  close(): void {
    this.#stop();
  }

  #onRequest(port: FramePort, link: number, transfer: number): void {
    const { latest, executed, now } = this.#init;
    if (this.#serving?.port === port && this.#serving.link === link) this.#stop();
    if (this.#serving !== null) return refuse(port, link, transfer, 1000, "another backup is being taken");
    const fresh = (latest()?.through ?? 0) >= executed();
    const waitMs = this.#begunAt + BACKUP_CHECKPOINT_MS_MIN - now();
    if (!fresh && waitMs > 0) {
      return refuse(port, link, transfer, Math.ceil(waitMs), "a checkpoint for a backup was taken a moment ago");
    }
    if (!fresh) this.#begunAt = now();
    const wanted = executed();
    const touchedAt = now();
    const serving = {
      port,
      link,
      transfer,
      wanted,
      reader: null,
      sent: 0,
      acknowledged: 0,
      unacknowledged: [],
      unacknowledgedBytes: 0,
      reading: false,
      touchedAt,
    };
    this.#serving = serving;
    this.#begin(serving);
  }

  #begin(serving: Serving): void {
    const { config, latest, self, store } = this.#init;
    const info = latest();
    if (info === null || info.through < serving.wanted) return;
    const offer: BackupOffer = {
      transfer: serving.transfer,
      clusterId: config.clusterId,
      replica: self,
      replicas: config.replicas.length,
      service: config.service,
      ordering: config.ordering,
      execution: config.execution,
      reads: config.reads,
      groups: config.groups,
      merge: config.merge,
      barrier: config.barrier,
      resubmit: config.resubmit,
      bounds: config.bounds,
      durability: config.durability,
      through: info.through,
      digest: info.digest,
      bytes: info.bytes,
    };
    const body = serving.port.begin(serving.link, FrameKind.backupOffer);
    if (body === null) return this.#stop();
    const text = encodeUtf8(JSON.stringify(offer));
    body.copy(text, 0, text.length);
    serving.port.end();
    serving.port.flush();
    serving.reader = store.read(info.through);
    this.#sendMore(serving);
  }

  #sendMore(serving: Serving): void {
    const { port, link, reader } = serving;
    if (reader === null || serving.reading || serving.unacknowledgedBytes >= BACKUP_WINDOW_BYTES) return;
    // Goes on when the link has drained, or at the next acknowledgement or tick.
    if (port.inFlightBytes(link) > UNSENT_BYTES_MAX) return;
    serving.reading = true;
    reader.next((error, chunk) => {
      serving.reading = false;
      if (this.#serving !== serving) return;
      if (error !== null) {
        this.#stop();
        return refuse(port, link, serving.transfer, 0, `the checkpoint can't be read: ${error.message}`);
      }
      const body = port.begin(link, FrameKind.backupChunk);
      if (body === null) return this.#stop();
      body.u32(serving.transfer);
      body.u32(serving.sent++);
      body.u8(chunk === null ? 1 : 0);
      if (chunk !== null) body.copy(chunk, 0, chunk.length);
      port.end();
      port.flush();
      serving.unacknowledged.push(chunk?.length ?? 0);
      serving.unacknowledgedBytes += chunk?.length ?? 0;
      if (chunk === null) this.#stop();
      else this.#sendMore(serving);
    });
  }

  #stop(): void {
    this.#serving?.reader?.close();
    this.#serving = null;
  }
}

function refuse(port: FramePort, link: number, transfer: number, retryMs: number, reason: string): void {
  const body = port.begin(link, FrameKind.backupRefuse);
  if (body === null) return;
  body.u32(transfer);
  body.u32(retryMs);
  const text = encodeUtf8(reason.slice(0, 1000));
  body.copy(text, 0, text.length);
  port.end();
  port.flush();
}

/** An offer as it was received; null if it is malformed. */
export function parseBackupOffer(bytes: Uint8Array, start: number, end: number): BackupOffer | null {
  if (end - start > 64 * 1024) return null;
  let value: unknown;
  try {
    value = JSON.parse(decodeUtf8(bytes, start, end));
  } catch {
    return null;
  }
  return isBackupOffer(value) ? value : null;
}

/** True if what is said of the groups of a cluster may be of one; all of it may be absent. */
export function areGroupFacts(fields: Readonly<Record<string, unknown>>): boolean {
  const { merge = "points", barrier = "run", resubmit = "replicas", bounds = [] } = fields;
  return (
    (merge === "points" || merge === "skips") &&
    (barrier === "run" || barrier === "command") &&
    (resubmit === "replicas" || resubmit === "client") &&
    Array.isArray(bounds) &&
    bounds.length < GROUPS_CONFIGURED_MAX &&
    bounds.every((bound) => typeof bound === "string" && /^\d{1,20}$/.test(bound))
  );
}

const TEXT_FIELDS = ["clusterId", "service", "ordering", "execution", "reads", "durability", "digest"] as const;
const NUMBER_FIELDS = ["transfer", "replica", "replicas", "groups", "through", "bytes"] as const;

function isBackupOffer(value: unknown): value is BackupOffer {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return (
    TEXT_FIELDS.every((name) => typeof fields[name] === "string" && fields[name].length <= 4096) &&
    NUMBER_FIELDS.every((name) => Number.isSafeInteger(fields[name]) && (fields[name] as number) >= 0) &&
    areGroupFacts(fields) &&
    /^[0-9a-f]{32}$/.test(fields["digest"] as string)
  );
}
