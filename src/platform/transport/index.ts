/**
 * transport: framed and raw connections behind the ports of `port.ts`, as siblings: TCP, in memory, simulated.
 *
 * | port | link numbers | made by |
 * |---|---|---|
 * | replica to replica | replica ids | `TcpPeers`, `SimNetwork.peers` |
 * | clients at a replica | connection serials | `TcpListener`, `createMemoryLink().listener`, `SimNetwork.listener` |
 * | a client | index of the address, or as given | `TcpDialler`, `createMemoryLink().dialler`, `SimNetwork.dialler` |
 * | several of the above as one | as given | `CombinedFramePort` |
 * | raw bytes (RESP) | connection serials | `TcpBytePort`, `MemoryBytePort` |
 *
 * Life of a TCP listener or peers port: construct, `listen` (binds and says the address), `start`, …, `close`. Whatever
 * connects between `listen` and `start` waits.
 *
 * Two things to know. A paused link reads nothing, so that the end of its connection is only noticed when it resumes or a
 * write fails: pause clients, not peers. And frames of a chunk that was already read when a TCP link is paused are
 * still delivered (at most 64 KiB).
 */
export { formatAddress, type ListenAddress, type ListenDone } from "./acceptor.js";
export { CombinedFramePort, type CombinedRoute } from "./combined-frame-port.js";
export { replicaNamed, replicaUri, serverMismatch } from "./certificate-name.js";
export { checksum } from "./checksum.js";
export {
  clusterKey,
  closeFrame,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  FrameReader,
  NO_CLUSTER,
  openFrame,
  PROTOCOL_VERSION,
  type ClusterKey,
  type FrameFault,
  type FrameFaultReason,
  type FrameReaderInit,
  type FrameSink,
} from "./frame.js";
export { FaultLog } from "./fault-log.js";
export { HeldPool, type HeldBuffer } from "./held-pool.js";
export {
  HELLO_KIND,
  HelloRole,
  PASSWORD_BYTES_MAX,
  readHello,
  USER_BYTES_MAX,
  writeHello,
  type Hello,
  type Login,
} from "./hello.js";
export { MemoryBytePort, type MemoryByteClient, type MemoryBytePortOptions } from "./memory-byte-port.js";
export { createMemoryLink, MEMORY_LINK_DEFAULTS, type MemoryLinkOptions } from "./memory-link.js";
export { SimNetwork, SIM_LINK_DEFAULTS, type SimLinkSettings, type SimNetworkCounts } from "./sim-network.js";
export { TCP_BYTE_PORT_DEFAULTS, TcpBytePort, type TcpBytePortInit, type TcpBytePortOptions } from "./tcp-byte-port.js";
export { TCP_DIALLER_DEFAULTS, TcpDialler, type TcpDiallerInit } from "./tcp-dialler.js";
export { type TcpFramePortComponents, type TcpFramePortOptions } from "./tcp-frame-port.js";
export { TCP_LISTENER_DEFAULTS, TcpListener, type TcpListenerInit, type TcpListenerOptions } from "./tcp-listener.js";
export { TCP_PEERS_DEFAULTS, TcpPeers, type TcpPeersInit } from "./tcp-peers.js";
export { TLS_VERSION_MIN, TlsCredentials, type TlsPem } from "./tls-credentials.js";
