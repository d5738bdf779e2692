import { ByteWriter, decodeUtf8, encodeUtf8 } from "../../base/index.js";
import {
  beginBlock,
  blockNonceHigh,
  blockNonceLow,
  BlockKind,
  BLOCK_HEADER_BYTES,
  endBlock,
  FrameKind,
  isOptimistic,
  type Position,
  type ReplicaId,
} from "../../model/index.js";
import type { FramePort } from "../../platform/index.js";
import type { ReplicaInit, ReplicaStatus } from "./api.js";

/** Digests remembered for `digestOf` questions. */
const DIGESTS_MAX = 256;
/** Longest request, in bytes. */
const REQUEST_BYTES_MAX = 64 * 1024;

interface ControlActions {
  status(): ReplicaStatus;
  leader(): ReplicaId;
  /** Queues a block for ordering; false if there is no room. */
  order(block: Uint8Array): boolean;
  transferLeadership(): void;
}

/** What a replica answers on its client ports besides blocks: welcome, redirect, status, digest, administration. */
export class ControlFrames {
  readonly #init: ReplicaInit;
  readonly #actions: ControlActions;
  readonly #digests = new Map<string, { position: Position; positions: readonly Position[]; hex: string }>();
  readonly #addresses: Uint8Array;

  constructor(init: ReplicaInit, actions: ControlActions) {
    this.#init = init;
    this.#actions = actions;
    const { config } = init;
    const { resubmit = "replicas", bounds } = config;
    const optimistic = isOptimistic(config) ? { optimistic: { resubmit, bounds } } : {};
    const addresses = config.replicas.map(({ id, client, members }, index) => {
      return {
        id,
        client,
        ...(members === undefined ? {} : { members: members.map((member) => ({ client: member.client })) }),
        ...(index === 0 ? optimistic : {}),
      };
    });
    this.#addresses = encodeUtf8(JSON.stringify(addresses));
  }

  welcome(port: FramePort, link: number): void {
    const body = port.begin(link, FrameKind.welcome);
    if (body === null) return;
    body.u32(this.#init.self);
    body.u32(this.#actions.leader());
    body.copy(this.#addresses, 0, this.#addresses.length);
    port.end();
  }

  redirect(port: FramePort, link: number, leader: ReplicaId): void {
    const body = port.begin(link, FrameKind.redirect);
    if (body === null) return;
    body.u32(leader);
    port.end();
  }

  /** `positions` are those of all streams, the one that the digest was ordered in first. */
  digestTaken(nonceHigh: number, nonceLow: number, positions: readonly Position[], hex: string): void {
    if (this.#digests.size >= DIGESTS_MAX) {
      for (const oldest of this.#digests.keys()) {
        this.#digests.delete(oldest);
        break;
      }
    }
    this.#digests.set(nonceKey(nonceHigh, nonceLow), { position: positions[0] as Position, positions, hex });
  }

  /** False for anything that is not a well-formed request. */
  onFrame(port: FramePort, link: number, kind: number, bytes: Uint8Array, start: number, end: number): boolean {
    if ((kind !== FrameKind.status && kind !== FrameKind.admin) || end - start > REQUEST_BYTES_MAX) return false;
    let request: unknown;
    try {
      request = JSON.parse(decodeUtf8(bytes, start, end));
    } catch {
      return false;
    }
    if (typeof request !== "object" || request === null) return false;
    const answer = kind === FrameKind.status ? this.#onStatus(request) : this.#onAdmin(request);
    if (answer === null) return false;
    const body = port.begin(link, kind === FrameKind.status ? FrameKind.statusReply : FrameKind.adminReply);
    if (body === null) return true;
    const text = encodeUtf8(JSON.stringify(answer));
    body.copy(text, 0, text.length);
    port.end();
    return true;
  }

  #onStatus(request: object): object | null {
    const want = "want" in request ? request.want : undefined;
    if (want === "status") return this.#actions.status();
    const nonce = "nonce" in request && typeof request.nonce === "string" ? request.nonce : "";
    if (!/^[0-9a-f]{32}$/.test(nonce)) return null;
    if (want === "digest") {
      const leader = this.#actions.leader();
      if (leader !== this.#init.self) return { ordered: false, leader };
      return { ordered: this.#actions.order(digestBlock(nonce)), leader };
    }
    if (want === "digestOf") {
      const { buffer } = digestBlock(nonce);
      const view = new DataView(buffer);
      const key = nonceKey(blockNonceHigh(view, 0), blockNonceLow(view, 0));
      return this.#digests.get(key) ?? { position: null, hex: null };
    }
    return null;
  }

  #onAdmin(request: object): object | null {
    if (!("do" in request) || request.do !== "transfer") return null;
    this.#actions.transferLeadership();
    return { done: true };
  }
}

/** Digests are told apart by both halves of their nonce, as execution reads them from the block. */
function nonceKey(high: number, low: number): string {
  return `${high}:${low}`;
}

function digestBlock(nonce: string): Uint8Array {
  const writer = new ByteWriter(BLOCK_HEADER_BYTES + 16);
  const at = beginBlock(writer, BlockKind.digest, 0, 0, 0);
  for (let i = 0; i < 32; i += 2) writer.u8(Number.parseInt(nonce.slice(i, i + 2), 16));
  endBlock(writer, at, 0);
  return writer.toBytes();
}
