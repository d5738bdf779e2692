/** Certificates for tests, made by the program `openssl`; where it is missing, tests that need them are skipped by name. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TlsPem } from "#src/platform/index.js";

/** Why a test that needs certificates is skipped; false if it is not. */
export const noOpenssl: string | false =
  spawnSync("openssl", ["version"]).status === 0 ? false : "there is no program openssl";

export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/** An authority with its files in a directory of its own, which `remove` takes away. */
export class Authority {
  readonly #directory = mkdtempSync(join(tmpdir(), "synod-test-ca-"));
  #serial = 0;
  readonly cert: string;

  constructor() {
    this.#openssl(
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key"],
      ["-out", "ca.crt", "-days", "30", "-subj", "/CN=authority of a test"],
    );
    this.cert = this.#read("ca.crt");
  }

  /** `names` as openssl writes them: `DNS:localhost`, `URI:synod://…`. `days` -1: it has expired. */
  issue(names: readonly string[], days = 30): Issued {
    const name = `issued-${++this.#serial}`;
    const extensions = [
      "basicConstraints=CA:FALSE",
      ...(names.length === 0 ? [] : [`subjectAltName=${names.join(",")}`]),
    ];
    writeFileSync(join(this.#directory, "extensions"), extensions.join("\n"));
    this.#openssl(
      ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${name}.key`],
      ["-subj", `/CN=${name}`, "-out", "request"],
    );
    this.#openssl(
      ["x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"],
      ["-days", String(days), "-extfile", "extensions", "-out", `${name}.crt`],
    );
    return { cert: this.#read(`${name}.crt`), key: this.#read(`${name}.key`) };
  }

  /** What a side shows that has this certificate and trusts this authority. */
  pem(issued: Issued | null): TlsPem {
    return { cert: issued?.cert ?? null, key: issued?.key ?? null, ca: this.cert };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #openssl(...groups: readonly (readonly string[])[]): void {
    execFileSync("openssl", groups.flat(), { cwd: this.#directory, stdio: ["ignore", "ignore", "pipe"] });
  }

  #read(name: string): string {
    return readFileSync(join(this.#directory, name), "utf8");
  }
}
