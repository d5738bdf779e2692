import { parseAddress } from "../model/index.js";

/** The command that reaches a Redis-protocol port, with the options that redis-cli does not have by default. */
export function redisCli(resp: string, tls: boolean): string {
  const { host, port } = parseAddress(resp);
  const options = [...(tls ? ["--tls"] : []), ...(host === "127.0.0.1" ? [] : ["-h", host]), "-p", `${port}`];
  return `redis-cli ${options.join(" ")}`;
}
