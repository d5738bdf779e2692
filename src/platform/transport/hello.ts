import type { ByteWriter } from "../../base/index.js";
import type { ReplicaId } from "../../model/index.js";
import { closeFrame, frameCluster, FRAME_HEADER_BYTES, openFrame, type ClusterKey } from "./frame.js";

/**
 * HELLO: the first frame on a connection, from both sides at once. A link is up when the other side's has been checked.
 * The frame header says the protocol version and the cluster id; the body the rest:
 *
 * | at | type | field |
 * |---|---|---|
 * | 0 | u32 | role, see HelloRole |
 * | 4 | u32 | replica id; 0 for a client |
 * | 8 | u32 | checksum of the cluster configuration (clusterChecksum); 0 between client and replica |
 * | 12 | u32 | 0 |
 * | 16 | f64 | incarnation of the process: a number that differs whenever it was started anew |
 */
export interface Hello {
  /** From the frame header; NO_CLUSTER from a client that asks which cluster this is. */
  readonly cluster: ClusterKey;
  readonly role: HelloRole;
  readonly replica: ReplicaId;
  readonly checksum: number;
  readonly incarnation: number;
}

export const HelloRole = {
  /** A replica to a replica. */
  peer: 1,
  /** A replica that asks a peer to dial it: see TcpPeers. */
  knock: 2,
  /** A client to a replica. */
  client: 3,
  /** A replica to a client. */
  server: 4,
} as const;
export type HelloRole = (typeof HelloRole)[keyof typeof HelloRole];

const ROLE_NAMES: Readonly<Record<HelloRole, string>> = {
  1: "a replica",
  2: "a replica that knocks",
  3: "a client",
  4: "a replica's client port",
};

export function roleName(role: HelloRole): string {
  return ROLE_NAMES[role];
}

/** The transport's own frame kind. */
export const HELLO_KIND = 0;
const BODY_BYTES = 24;
/** Before its HELLO a connection may send nothing longer than this. */
export const HELLO_FRAME_BYTES = FRAME_HEADER_BYTES + BODY_BYTES;

export function writeHello(writer: ByteWriter, hello: Hello): void {
  const start = openFrame(writer);
  writer.u32(hello.role);
  writer.u32(hello.replica);
  writer.u32(hello.checksum);
  writer.u32(0);
  writer.f64(hello.incarnation);
  closeFrame(writer, start, HELLO_KIND, hello.cluster);
}

/** Null for anything malformed. */
export function readHello(view: DataView, start: number, end: number): Hello | null {
  if (end - start !== BODY_BYTES) return null;
  const role = view.getUint32(start, true);
  if (role < HelloRole.peer || role > HelloRole.server) return null;
  return {
    cluster: frameCluster(view, start),
    role: role as HelloRole,
    replica: view.getUint32(start + 4, true),
    checksum: view.getUint32(start + 8, true),
    incarnation: view.getFloat64(start + 16, true),
  };
}
