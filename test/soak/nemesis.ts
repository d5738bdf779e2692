/**
 * The nemesis: faults strike a cluster of real processes while clients on all replicas write down a history, which must be
 * linearizable; at the end nothing acknowledged may be missing and all digests must be equal.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Prng } from "#src/base/index.js";
import { RealCluster } from "./cluster.js";
import { delay } from "./delay.js";
import { type Fault, type FaultKind, faultKinds, faults, needsMachines } from "./fault.js";
import { Machines, machinesRefusal } from "./machines.js";
import type { Members } from "./members.js";
import { sandboxDirectory } from "./sandbox.js";
import { loadKind, type LoadVerdict } from "./workload/index.js";

export interface NemesisOptions {
  readonly seconds: number;
  readonly seed: number;
  /** `kv`, `btree`, or the path of `examples/bank/bank.js`. */
  readonly service?: string;
  /** Groups of threads, 1 by default. */
  readonly groups?: number;
  /** How they share the work, as options of `up` by name; execution psmr by default. */
  readonly sharing?: Readonly<Record<string, string>>;
  readonly clients?: number;
  /** Mean pause of a lane of a client between two commands, in ms. */
  readonly pauseMs?: number;
  /** All that this place allows, by default. */
  readonly faults?: readonly FaultKind[];
  readonly log?: (line: string) => void;
}

export interface NemesisReport {
  readonly service: string;
  readonly groups: number;
  readonly sharing: Readonly<Record<string, string>>;
  readonly seconds: number;
  readonly seed: number;
  readonly operations: { readonly ok: number; readonly fail: number; readonly info: number };
  /** How often each fault struck. */
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  /** Faults that this place does not allow, and why. */
  readonly skipped: Readonly<Partial<Record<FaultKind, string>>>;
  /** Longest time between two successes of any client, in ms. */
  readonly longestUnavailabilityMs: number;
  readonly verdict: LoadVerdict;
  readonly digests: readonly (string | null)[];
  readonly exitCode: number | null;
}

/** The digests of all replicas are asked for so often, half a second apart, before one counts as missing. */
const DIGEST_ATTEMPTS = 40;

export const passed = ({ verdict, digests, exitCode }: NemesisReport): boolean =>
  verdict.verdict === "linearizable" && new Set(digests).size === 1 && digests[0] !== null && exitCode === 0;

export async function runNemesis(options: NemesisOptions): Promise<NemesisReport> {
  const log = options.log ?? (() => undefined);
  const service = options.service ?? "kv";
  const kind = loadKind(service);
  assert(kind !== undefined, `the nemesis has no load for ${service}`);
  const { groups = 1 } = options;
  const sharing = { ...(groups > 1 ? { execution: "psmr" } : {}), ...options.sharing };
  const cluster = ["--service", kind.service];
  if (groups > 1) cluster.push("--groups", String(groups));
  for (const [name, value] of Object.entries(sharing)) cluster.push(`--${name}`, value);
  const wanted = options.faults ?? faultKinds;
  const refusal = sandboxDirectory() === null ? "needs a sandbox" : machinesRefusal();
  const skipped = Object.fromEntries(
    refusal === null ? [] : wanted.filter(needsMachines).map((name) => [name, refusal] as const),
  );
  for (const name of Object.keys(skipped)) log(`no ${name}: ${refusal}`);
  const kinds = wanted.filter((name) => !(name in skipped));
  assert(kinds.length > 0, "a nemesis has a fault left to strike with");
  const struck = Object.fromEntries(kinds.map((name) => [name, 0])) as Record<FaultKind, number>;
  const prng = new Prng(options.seed);
  const directory = sandboxDirectory() ?? mkdtempSync(join(tmpdir(), "synod-nemesis-"));
  let members: Members | null = null;
  const leave = (): void => {
    void Promise.resolve(members?.close()).finally(() => {
      if (sandboxDirectory() === null) rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
      process.exit(3);
    });
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.once(signal, leave);
  try {
    members =
      refusal === null
        ? await Machines.start(directory, cluster)
        : await RealCluster.start(directory, ["--port", "0", ...cluster]);
    const load = kind.create({
      resp: members.respAddresses,
      client: members.clientAddresses,
      clients: options.clients ?? 8,
      pauseMs: options.pauseMs ?? 2,
      prng: prng.fork("load"),
    });
    await load.prepare();
    load.start();
    const until = Date.now() + options.seconds * 1000;
    while (Date.now() < until) {
      await delay(prng.between(500, 2500));
      const name = prng.pick(kinds);
      // Half of the time the coordinator is the victim, which random choice would hit in a third of the cases only.
      const victim = prng.chance(0.5) ? await members.leader() : prng.pick(members.ids);
      log(`${name} (r${victim})`);
      const fault: Fault = faults[name];
      const result = await fault.strike({ members, victim, prng, pauseMs: prng.between(200, 4000) });
      if (result !== false) struck[name]++;
    }
    log("healing");
    await load.stop();
    await load.readAll();
    let status = await members.status();
    // One that was rebuilt a moment ago, on a busy machine, may not have reached the position of the digest yet.
    for (
      let left = DIGEST_ATTEMPTS;
      left > 0 && status?.replicas.some(({ digest }) => digest === null) !== false;
      left--
    ) {
      await delay(500);
      status = await members.status();
    }
    log("checking");
    const { ok, fail, info, longestGapMs } = load.counts;
    const verdict = load.verdict();
    if (verdict.verdict !== "linearizable") {
      const file = resolve(`nemesis-${kind.name}-${options.seed}.jsonl`);
      load.writeHistory(file);
      log(`${verdict.verdict}: the history is in ${file}, for synod check`);
    }
    return {
      service,
      groups,
      sharing,
      seconds: options.seconds,
      seed: options.seed,
      operations: { ok, fail, info },
      faults: struck,
      skipped,
      longestUnavailabilityMs: Math.round(longestGapMs),
      verdict,
      digests: status?.replicas.map((replica) => replica.digest?.hex ?? null) ?? [],
      exitCode: await members.close(),
    };
  } finally {
    for (const signal of signals) process.off(signal, leave);
    await members?.close();
    // A sandbox takes its files with it.
    if (sandboxDirectory() === null) rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
