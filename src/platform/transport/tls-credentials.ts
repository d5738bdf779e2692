import { createSecureContext, type SecureContext } from "node:tls";

/** What one side of TLS connections shows, and what it verifies the other side with; in PEM form. */
export interface TlsPem {
  /** Null: this side shows no certificate, as most clients. */
  readonly cert: string | null;
  readonly key: string | null;
  /** Null: a server asks for no certificates, a client trusts what its system does. */
  readonly ca: string | null;
}

/** Nothing older is spoken: all programs of ours are newer, and so is every Redis client that has TLS. */
export const TLS_VERSION_MIN = "TLSv1.3";

/**
 * Certificates that can be exchanged while a port uses them: connections made from then on have the new ones. Throws, and
 * keeps what it has, if key and certificate don't belong together or are none.
 */
export class TlsCredentials {
  #pem: TlsPem;
  #context: SecureContext;
  /** Counts the exchanges. */
  version = 1;

  constructor(pem: TlsPem) {
    this.#pem = pem;
    this.#context = contextOf(pem);
  }

  get pem(): TlsPem {
    return this.#pem;
  }

  /** For dialled connections. */
  get context(): SecureContext {
    return this.#context;
  }

  replace(pem: TlsPem): void {
    this.#context = contextOf(pem);
    this.#pem = pem;
    this.version++;
  }
}

/** The options of TLS that stand for this PEM. */
export function pemOptions(pem: TlsPem): { cert?: string; key?: string; ca?: string } {
  return {
    ...(pem.cert === null ? {} : { cert: pem.cert }),
    ...(pem.key === null ? {} : { key: pem.key }),
    ...(pem.ca === null ? {} : { ca: pem.ca }),
  };
}

function contextOf(pem: TlsPem): SecureContext {
  return createSecureContext({ ...pemOptions(pem), minVersion: TLS_VERSION_MIN });
}
