import { assert, type ByteWriter, decodeUtf8, encodeUtf8 } from "../../base/index.js";
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
 * | 24 | u16 | a client's login: length of the user's name. Absent, with all that follows, if it has none |
 * | 26 | u16 | length of the password |
 * | 28 | … | name and password in UTF-8 |
 */
export interface Hello {
  /** From the frame header; NO_CLUSTER from a client that asks which cluster this is. */
  readonly cluster: ClusterKey;
  readonly role: HelloRole;
  readonly replica: ReplicaId;
  readonly checksum: number;
  readonly incarnation: number;
  readonly login?: Login | undefined;
}

/** As whom a client wants to be let in. */
export interface Login {
  readonly user: string;
  readonly password: Uint8Array;
}

export const USER_BYTES_MAX = 64;
export const PASSWORD_BYTES_MAX = 512;

export const HelloRole = {
  /** A replica to a replica. */
  peer: 1,
  /** A replica that asks a peer to dial it: see TcpPeers. */
  knock: 2,
  /** A client to a replica. */
  client: 3,
  /** A replica to a client. */
  server: 4,
  /** A replica to a client that it does not let in. It says nothing else, not even which cluster this is. */
  refusal: 5,
} as const;
export type HelloRole = (typeof HelloRole)[keyof typeof HelloRole];

const ROLE_NAMES: Readonly<Record<HelloRole, string>> = {
  1: "a replica",
  2: "a replica that knocks",
  3: "a client",
  4: "a replica's client port",
  5: "a replica's client port that lets nobody in without a login",
};

export function roleName(role: HelloRole): string {
  return ROLE_NAMES[role];
}

/** The transport's own frame kind. */
export const HELLO_KIND = 0;
const BODY_BYTES = 24;
const LOGIN_BYTES = 4;
/** Before its HELLO a connection may send nothing longer than this. */
export const HELLO_FRAME_BYTES = FRAME_HEADER_BYTES + BODY_BYTES + LOGIN_BYTES + USER_BYTES_MAX + PASSWORD_BYTES_MAX;

export function writeHello(writer: ByteWriter, hello: Hello): void {
  const start = openFrame(writer);
  writer.u32(hello.role);
  writer.u32(hello.replica);
  writer.u32(hello.checksum);
  writer.u32(0);
  writer.f64(hello.incarnation);
  if (hello.login !== undefined) writeLogin(writer, hello.login);
  closeFrame(writer, start, HELLO_KIND, hello.cluster);
}

function writeLogin(writer: ByteWriter, login: Login): void {
  const user = encodeUtf8(login.user);
  assert(user.length <= USER_BYTES_MAX, `a user's name has at most ${USER_BYTES_MAX} bytes, got ${user.length}`);
  const bytes = login.password.length;
  assert(bytes <= PASSWORD_BYTES_MAX, `a password has at most ${PASSWORD_BYTES_MAX} bytes, got ${bytes}`);
  const at = writer.skip(LOGIN_BYTES);
  writer.view.setUint16(at, user.length, true);
  writer.view.setUint16(at + 2, bytes, true);
  writer.copy(user, 0, user.length);
  writer.copy(login.password, 0, bytes);
}

/** Null for anything malformed. The login's password is a part of `bytes`. */
export function readHello(bytes: Uint8Array, view: DataView, start: number, end: number): Hello | null {
  const login = end - start === BODY_BYTES ? undefined : readLogin(bytes, view, start + BODY_BYTES, end);
  if (login === null) return null;
  const role = view.getUint32(start, true);
  if (role < HelloRole.peer || role > HelloRole.refusal) return null;
  return {
    cluster: frameCluster(view, start),
    role: role as HelloRole,
    replica: view.getUint32(start + 4, true),
    checksum: view.getUint32(start + 8, true),
    incarnation: view.getFloat64(start + 16, true),
    login,
  };
}

function readLogin(bytes: Uint8Array, view: DataView, start: number, end: number): Login | null {
  if (end - start < LOGIN_BYTES) return null;
  const userBytes = view.getUint16(start, true);
  const passwordBytes = view.getUint16(start + 2, true);
  const at = start + LOGIN_BYTES;
  if (userBytes > USER_BYTES_MAX || passwordBytes > PASSWORD_BYTES_MAX) return null;
  if (at + userBytes + passwordBytes !== end) return null;
  return { user: decodeUtf8(bytes, at, at + userBytes), password: bytes.subarray(at + userBytes, end) };
}
