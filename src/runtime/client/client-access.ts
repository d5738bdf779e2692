import { encodeUtf8 } from "../../base/index.js";
import { ConfigError } from "../../model/index.js";
import { type Login, PASSWORD_BYTES_MAX, TlsCredentials, USER_BYTES_MAX } from "../../platform/index.js";

/** Certificates of a client, as texts in PEM form (not names of files). */
export interface ClientTls {
  /** Authorities that the replicas' certificates are verified with; those of the system by default. */
  readonly ca?: string | undefined;
  /** The client's own certificate with its key, where replicas let clients in by theirs. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** How a client reaches a protected cluster. */
export interface ClientSecurity {
  /** True: TLS, verified with the system's authorities. Needed exactly where the replicas' client ports have it. */
  readonly tls?: boolean | ClientTls | undefined;
  /** `default` if only a password is given. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /**
   * With TLS: a certificate is good for every address if it names a replica of this cluster, whatever host it is for. By
   * default it has to be good for the host that is dialled.
   */
  readonly clusterId?: string | undefined;
}

/** What a dialler needs of it. Throws `ConfigError` for what can't work. */
export function accessOf(security: ClientSecurity): {
  readonly tls?: TlsCredentials;
  readonly login?: Login;
  readonly trustedCluster?: string;
} {
  const { tls, user, password, clusterId } = security;
  if (user !== undefined && password === undefined) throw new ConfigError(`user ${user} needs a password`);
  return {
    ...(tls === undefined || tls === false ? {} : { tls: credentialsOf(tls === true ? {} : tls) }),
    ...(password === undefined ? {} : { login: loginOf(user ?? "default", password) }),
    ...(clusterId === undefined ? {} : { trustedCluster: clusterId }),
  };
}

function loginOf(user: string, password: string): Login {
  const bytes = encodeUtf8(password);
  if (bytes.length > PASSWORD_BYTES_MAX) {
    throw new ConfigError(`a password has at most ${PASSWORD_BYTES_MAX} bytes, got ${bytes.length}`);
  }
  const userBytes = encodeUtf8(user).length;
  if (userBytes > USER_BYTES_MAX) {
    throw new ConfigError(`a user's name has at most ${USER_BYTES_MAX} bytes, got ${userBytes}`);
  }
  return { user, password: bytes };
}

function credentialsOf({ ca, cert, key }: ClientTls): TlsCredentials {
  if ((cert === undefined) !== (key === undefined)) {
    throw new ConfigError("a client's certificate and its key belong together: one of them is missing");
  }
  try {
    return new TlsCredentials({ ca: ca ?? null, cert: cert ?? null, key: key ?? null });
  } catch (error) {
    throw new ConfigError(`the client's certificates can't be used: ${(error as Error).message}`);
  }
}
