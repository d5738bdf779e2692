import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import type { ClientSecurity } from "../runtime/index.js";
import { RespConnection, RespReplyError } from "./resp-connection.js";

const CONNECT_MS_MAX = 1000;
/** Writes are acknowledged for this long before the kill, and again after the first one that succeeds. */
const CALM_MS = 200;
/** After a write that was refused. */
const RETRY_MS = 2;
/** The cluster should have a leader again long before. */
const OUTAGE_MS_MAX = 30_000;

export interface KillDrillResult {
  /** From the kill to the acknowledgement of a write that was sent after it, in ms; null if there was none in 30 s. */
  readonly outageMs: number | null;
  readonly acknowledged: number;
  /** Acknowledged writes that can't be read any more. */
  readonly lost: number;
}

/**
 * Writes one key after the other through a surviving replica's port, calls `kill` on the way, and afterwards reads back
 * everything that was acknowledged. Leaves none of its keys behind.
 */
export async function killDrill(
  respAddress: string,
  security: ClientSecurity,
  kill: () => void,
): Promise<KillDrillResult> {
  const connection = await RespConnection.open(respAddress, CONNECT_MS_MAX, security);
  try {
    const prefix = `synod:probe:${randomBytes(6).toString("hex")}:`;
    const written: string[] = [];
    const acknowledged: string[] = [];
    const write = async (): Promise<boolean> => {
      const key = `${prefix}${written.length}`;
      written.push(key);
      const done = (await connection.send(["SET", key, "1"])) === "OK";
      // A write that was not acknowledged may or may not be there: it counts for nothing and is only cleared away.
      if (done) acknowledged.push(key);
      else await setTimeout(RETRY_MS);
      return done;
    };

    await repeatFor(CALM_MS, write);
    const killedMs = performance.now();
    kill();
    let outageMs: number | null = null;
    while (outageMs === null && performance.now() - killedMs < OUTAGE_MS_MAX) {
      if (await write()) outageMs = performance.now() - killedMs;
    }
    await repeatFor(CALM_MS, write);

    const found = await count(connection, acknowledged);
    await eachChunk(written, (keys) => connection.send(["DEL", ...keys]));
    return { outageMs, acknowledged: acknowledged.length, lost: acknowledged.length - found };
  } finally {
    connection.close();
  }
}

async function repeatFor(durationMs: number, act: () => Promise<unknown>): Promise<void> {
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs) await act();
}

async function count(connection: RespConnection, keys: readonly string[]): Promise<number> {
  let found = 0;
  await eachChunk(keys, async (chunk) => {
    const reply = await connection.send(["EXISTS", ...chunk]);
    if (reply instanceof RespReplyError) throw reply;
    found += Number(reply);
  });
  return found;
}

async function eachChunk(keys: readonly string[], act: (chunk: readonly string[]) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < keys.length; at += 1000) await act(keys.slice(at, at + 1000));
}
