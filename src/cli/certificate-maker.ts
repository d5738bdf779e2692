import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ClusterConfig, ConfigError, parseAddress, type SecurityConfig } from "../model/index.js";
import { replicaUri } from "../platform/index.js";

/** Where a cluster's certificates lie, below the file that describes it. */
export const TLS_DIRECTORY = "tls";

/** The files that `makeCertificates` writes, as `cluster.json` names them. */
export const madeCertificates: Required<Pick<SecurityConfig, "peers" | "clients">> = {
  peers: { cert: "tls/replica-{id}.crt", key: "tls/replica-{id}.key", ca: "tls/ca.crt" },
  clients: {
    cert: "tls/replica-{id}.crt",
    key: "tls/replica-{id}.key",
    ca: "tls/ca.crt",
    clientCa: "tls/ca.crt",
  },
};

/**
 * Makes, with the program `openssl`, what a cluster needs: an authority (`ca.crt`, `ca.key`), a certificate a replica
 * that names it and its hosts, and one for clients. An authority that is there is used, certificates are made anew. Throws
 * `ConfigError` if there is no such program.
 */
export function makeCertificates(config: ClusterConfig, directory: string, days: number): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const scratch = mkdtempSync(join(tmpdir(), "synod-certificates-"));
  try {
    const ca = { cert: join(directory, "ca.crt"), key: join(directory, "ca.key") };
    if (!existsSync(ca.key)) {
      makeKey(ca.key);
      openssl(
        ["req", "-x509", "-new", "-key", ca.key, "-out", ca.cert, "-days", String(10 * days), "-sha256"],
        ["-subj", `/O=Synod/CN=cluster ${config.clusterId}`],
        ["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
      );
    }
    for (const replica of config.replicas) {
      const hosts = [replica.peer, replica.client, replica.resp]
        .filter((address) => address !== null)
        .map((address) => parseAddress(address).host);
      const names = [...new Set(hosts)].map((host) => (isIP(host) === 0 ? `DNS:${host}` : `IP:${host}`));
      const subject = `/O=Synod/CN=replica ${replica.id} of ${config.clusterId}`;
      const extensions = [
        `subjectAltName=URI:${replicaUri(config.clusterId, replica.id)},${names.join(",")}`,
        "extendedKeyUsage=serverAuth,clientAuth",
      ];
      sign(ca, join(directory, `replica-${replica.id}`), subject, extensions, days, scratch);
    }
    sign(ca, join(directory, "client"), "/O=Synod/CN=client", ["extendedKeyUsage=clientAuth"], days, scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function sign(
  ca: { readonly cert: string; readonly key: string },
  name: string,
  subject: string,
  extensions: readonly string[],
  days: number,
  scratch: string,
): void {
  const request = join(scratch, "request");
  const file = join(scratch, "extensions");
  writeFileSync(
    file,
    ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", ...extensions].join("\n"),
  );
  makeKey(`${name}.key`);
  openssl(["req", "-new", "-key", `${name}.key`, "-subj", subject, "-out", request]);
  openssl(
    ["x509", "-req", "-in", request, "-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial"],
    ["-CAserial", join(scratch, "serial"), "-days", String(days), "-sha256", "-extfile", file],
    ["-out", `${name}.crt`],
  );
}

function makeKey(file: string): void {
  openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file]);
  chmodSync(file, 0o600);
}

function openssl(...groups: readonly (readonly string[])[]): void {
  const args = groups.flat();
  try {
    execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: Buffer };
    if (code === "ENOENT") throw new ConfigError("the program openssl, which makes the certificates, is not installed");
    throw new ConfigError(`openssl ${args[0]}: ${stderr?.toString().trim() ?? (error as Error).message}`);
  }
}
