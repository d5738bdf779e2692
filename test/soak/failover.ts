/**
 * How long the store is unavailable when its coordinator is killed -9, stopped (SIGSTOP), or cut off from the others by
 * dropped packets, under saturating load: the time from the fault to the reply of the first command sent after it.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RespConnection, RespReplyError } from "#src/cli/resp-connection.js";
import { delay } from "./delay.js";
import { RealCluster } from "./cluster.js";
import { median, SaturatingLoad } from "./load.js";

export type LeaderFault = "kill" | "stop" | "cut";

export interface FailoverReport {
  readonly fault: LeaderFault;
  readonly rounds: number;
  readonly medianMs: number;
  readonly maxMs: number;
  readonly allMs: readonly number[];
  readonly lostWrites: number;
}

export async function runFailover(
  fault: LeaderFault,
  rounds: number,
  log: (line: string) => void,
): Promise<FailoverReport> {
  const directory = mkdtempSync(join(tmpdir(), "synod-failover-"));
  const cluster = await RealCluster.start(directory);
  const allMs: number[] = [];
  let lostWrites = 0;
  let sequence = 0;
  try {
    for (let round = 0; round < rounds; round++) {
      const load = new SaturatingLoad(directory, 60);
      await delay(3000);
      const leader = await cluster.leader();
      const survivor = cluster.ids.find((id) => id !== leader) as number;
      const probe = await RespConnection.open(cluster.entry(survivor).resp, 2000);
      const before = ++sequence;
      await probe.send(["set", "probe", String(before)]);
      const heal = strike(cluster, fault, leader);
      const at = performance.now();
      for (;;) {
        const reply = await probe.send(["set", `probe${++sequence}`, "x"]);
        if (!(reply instanceof RespReplyError)) break;
      }
      const tookMs = Math.round(performance.now() - at);
      if ((await probe.send(["get", "probe"])) !== String(before)) lostWrites++;
      probe.close();
      allMs.push(tookMs);
      log(`${fault} r${leader}: next success after ${tookMs} ms`);
      await load.abort();
      await heal();
      await delay(1000);
    }
  } finally {
    await cluster.close();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
  return { fault, rounds, medianMs: median(allMs), maxMs: Math.max(...allMs), allMs, lostWrites };
}

function strike(cluster: RealCluster, fault: LeaderFault, leader: number): () => Promise<void> {
  switch (fault) {
    case "kill": {
      const dead = cluster.kill(leader);
      return async () => {
        await dead;
        await cluster.restart(leader);
      };
    }
    case "stop":
      cluster.stop(leader);
      return async () => cluster.continue(leader);
    case "cut": {
      const rules = dropRules(cluster, leader);
      for (const rule of rules) execFileSync("iptables", ["-A", ...rule]);
      return async () => {
        for (const rule of rules) execFileSync("iptables", ["-D", ...rule]);
      };
    }
  }
}

/** Rules that drop every packet of the connections which the process has now, and of new ones to its listening ports. */
function dropRules(cluster: RealCluster, id: number): string[][] {
  const resp = cluster.entry(id).resp.split(":").at(-1);
  const sockets = execFileSync("ss", ["-tanpH"], { encoding: "utf8" });
  const ports = new Set<string>();
  for (const line of sockets.split("\n")) {
    if (!line.includes(`pid=${cluster.pid(id)},`)) continue;
    const local = /^\S+\s+\d+\s+\d+\s+\S+:(\d+)\s/.exec(line)?.[1];
    if (local !== undefined && local !== resp) ports.add(local);
  }
  return [...ports].flatMap((port) =>
    ["--sport", "--dport"].map((side) => ["INPUT", "-i", "lo", "-p", "tcp", side, port, "-j", "DROP"]),
  );
}
