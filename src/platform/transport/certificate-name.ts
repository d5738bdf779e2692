import type { Socket } from "node:net";
import { checkServerIdentity, type PeerCertificate, TLSSocket } from "node:tls";
import { REPLICA_ID_MAX, type ReplicaId } from "../../model/index.js";

/** The name of a replica in its certificate, among the subject's alternative names. */
export function replicaUri(clusterId: string, replica: ReplicaId): string {
  return `synod://${clusterId}/replica/${replica}`;
}

/** The replica of this cluster that a certificate's alternative names name (as Node prints them); 0 if none or several. */
export function replicaNamed(alternativeNames: string | undefined, clusterId: string): ReplicaId {
  // Names with unusual characters are printed in quotes, inside which a comma separates nothing. None of ours needs them.
  if (alternativeNames === undefined || alternativeNames.includes('"')) return 0;
  const prefix = `URI:synod://${clusterId}/replica/`;
  const ids = alternativeNames
    .split(", ")
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length));
  const [id = ""] = ids;
  if (ids.length !== 1 || !/^[1-9][0-9]?$/.test(id) || Number(id) > REPLICA_ID_MAX) return 0;
  return Number(id);
}

/**
 * True if the other side of an accepted connection has shown a certificate that was verified in this very handshake. A
 * resumed session proves no certificate: Node calls one `authorized` whose first handshake had none.
 */
export function isCertified(socket: Socket): boolean {
  if (!(socket instanceof TLSSocket) || !socket.authorized || socket.isSessionReused()) return false;
  return socket.getPeerX509Certificate() !== undefined;
}

/** The replica that an accepted connection is certified to come from; 0 for anybody else. */
export function certifiedReplica(socket: Socket, clusterId: string): ReplicaId {
  if (!isCertified(socket)) return 0;
  return replicaNamed((socket as TLSSocket).getPeerX509Certificate()?.subjectAltName, clusterId);
}

/** For dialling a replica as a peer: what is wrong with the certificate it shows. */
export function replicaMismatch(cert: PeerCertificate, clusterId: string, replica: ReplicaId): Error | undefined {
  if (replicaNamed(cert.subjectaltname, clusterId) === replica) return undefined;
  return new Error(
    `its certificate does not name ${replicaUri(clusterId, replica)} but ${cert.subjectaltname ?? "nobody"}`,
  );
}

/** For dialling a client port: the certificate is good for the host, or for any replica of a cluster that is known. */
export function serverMismatch(cert: PeerCertificate, host: string, clusterId: string | null): Error | undefined {
  if (clusterId !== null && replicaNamed(cert.subjectaltname, clusterId) !== 0) return undefined;
  return checkServerIdentity(host, cert);
}
