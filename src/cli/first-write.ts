import { setTimeout } from "node:timers/promises";
import type { ReplicaAddress } from "../model/index.js";
import type { ClientSecurity } from "../runtime/index.js";
import { RespConnection, type RespReply } from "./resp-connection.js";

const RETRY_MS = 10;
const CONNECT_MS_MAX = 1000;
/** A key that nobody uses: deleting it is an ordered write that changes nothing. */
const UNUSED_KEY = "\u0000synod:first-write\u0000";

/**
 * Resolves once a write has gone through a replica's own client-facing port, over a real connection: what "ready" means.
 * Tries for as long as it takes, since without a quorum there is nothing else to do. Leaves nothing behind in the store.
 */
export async function firstWrite(address: ReplicaAddress, own: ClientSecurity): Promise<void> {
  if (address.resp !== null) await firstRespWrite(address.resp, own);
  else await firstSession(address.client, own);
}

async function firstRespWrite(address: string, own: ClientSecurity): Promise<void> {
  for (;;) {
    let connection: RespConnection | null = null;
    try {
      connection = await RespConnection.open(address, CONNECT_MS_MAX, own);
      let reply: RespReply;
      do {
        // An error reply says "try again" in one word or another: there is no leader yet.
        reply = await connection.send(["DEL", UNUSED_KEY]);
        if (typeof reply !== "number") await setTimeout(RETRY_MS);
      } while (typeof reply !== "number");
      return;
    } catch {
      await setTimeout(RETRY_MS);
    } finally {
      connection?.close();
    }
  }
}

/** For services without RESP: the replica's client port answers, and a session is opened, which is an ordered write. */
async function firstSession(address: string, own: ClientSecurity): Promise<void> {
  const { connectBlockClient } = await import("../runtime/index.js");
  const handlers = { resolve: () => undefined, fail: () => undefined, opened: () => undefined };
  let client = await connectBlockClient({ ...own, addresses: [address], handlers }).catch(() => null);
  while (client === null)
    client = await connectBlockClient({ ...own, addresses: [address], handlers }).catch(() => null);
  while (client.session === 0) await setTimeout(RETRY_MS);
  await new Promise<void>((resolve) => client.close(resolve));
}
