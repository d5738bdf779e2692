/** The Redis protocol as bytes, so that these tests trust no client of anybody's. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import type { ReplicaEntry } from "./synod-process.js";

/** Sends requests over a new connection and resolves with as many bytes of replies as `expected` has, as text. */
export function ask(address: string, requests: string, expected: string): Promise<string> {
  const [host = "", port = ""] = address.split(":");
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ host, port: Number(port) }, () => socket.write(requests));
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      text += chunk;
      // An error reply may be shorter than what was expected: it is shown rather than waited on.
      if (text.length < expected.length && !text.startsWith("-")) return;
      socket.destroy();
      resolve(text);
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`${address} closed the connection after ${JSON.stringify(text)}`)));
  });
}

/** A request as clients send it. */
export function request(...parts: readonly string[]): string {
  return `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join("")}`;
}

/** A bulk reply. */
export function bulk(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

/** Sets a key through a replica's port; fails unless it was acknowledged. */
export async function set(replica: ReplicaEntry, key: string, value: string): Promise<void> {
  assert.equal(await ask(replica.resp, request("SET", key, value), "+OK\r\n"), "+OK\r\n");
}

/** The reply to a GET through a replica's port, as long as that of "value". */
export async function get(replica: ReplicaEntry, key: string): Promise<string> {
  return ask(replica.resp, request("GET", key), bulk("value"));
}
