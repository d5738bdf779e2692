import type { RunTally, Slowest } from "../sim/index.js";
import { grouped } from "./output.js";

/** What a run of seeds has met, as fields of the last JSON line. */
export function summaryFields(tally: RunTally): object {
  return {
    seeds: tally.seeds,
    failed: tally.failed.length,
    failed_seeds: tally.failed,
    operations: tally.operations,
    virtual_seconds: Number((tally.virtualMs / 1000).toFixed(1)),
    elections: tally.elections,
    rejoins: tally.rejoins,
    installs: tally.installs,
    checkpoints: tally.checkpoints,
    log_repairs: tally.repairs,
    sessions_expired: tally.sessionsExpired,
    connection_replies: tally.connectionReplies,
    ...(tally.optimism.seeds === 0 ? {} : { optimism: tally.optimism }),
    unsearched: tally.unsearched,
    slowest_progress: tally.slowestProgress,
    slowest_healing: tally.slowestHealing,
    faults: Object.fromEntries([...tally.faults].filter(([, { enabled }]) => enabled > 0)),
  };
}

/** The same in words: what was met, each fault with how often and in how many seeds, and how long healing took. */
export function summaryLines(tally: RunTally): string[] {
  const counts: [number, string][] = [
    [tally.virtualMs / 1000, "virtual seconds"],
    [tally.elections, "elections"],
    [tally.checkpoints, "checkpoints"],
    [tally.rejoins, "rejoins"],
    [tally.installs, "states installed"],
    [tally.repairs, "logs repaired"],
    [tally.sessionsExpired, "sessions expired"],
    [tally.connectionReplies, "replies over Redis connections"],
    [tally.unsearched, "histories judged by the witness alone"],
  ];
  const lines = [`  ${counts.map(([count, what]) => `${grouped(count)} ${what}`).join(", ")}`];
  const { seeds: optimistic, failed, conservative, refused, again } = tally.optimism;
  if (optimistic > 0) {
    const executed = `${grouped(failed)} commands failed their check, ${grouped(conservative)} executed conservatively`;
    lines.push(
      `  opt-psmr: ${executed}, ${grouped(refused)} refused for now, ${grouped(again)} blocks multicast again`,
    );
  }
  const met = [...tally.faults].filter(([, { enabled }]) => enabled > 0);
  if (met.length === 0) return [...lines, "  no faults"];
  const table = met.map(([name, { enabled, seeds, times }]) => [name, grouped(times), `${seeds} of ${enabled}`]);
  lines.push(...columns([["fault", "times", "in seeds"], ...table]).map((line) => `  ${line}`));
  lines.push(...coverageLines(tally));
  const slowest = (what: string, of: Slowest | null): string | null =>
    of === null ? null : `${what} ${(of.ms / 1000).toFixed(1)} s at most (seed ${of.seed})`;
  const healing = [slowest("all clients answered", tally.slowestProgress), slowest("all healed", tally.slowestHealing)];
  const said = healing.filter((line) => line !== null);
  if (said.length > 0) lines.push(`  after the end of the faults: ${said.join(", ")}`);
  return lines;
}

/** Of the crash points: how many processes have died at, and by name those that none has, or not even come by. */
function coverageLines({ crashPoints, faults }: RunTally): string[] {
  if ((faults.get("crash-point")?.enabled ?? 0) === 0) return [];
  const points = [...crashPoints];
  const died = points.filter(([, { deaths }]) => deaths > 0).length;
  const names = (which: readonly (readonly [string, unknown])[]): string => which.map(([name]) => name).join(", ");
  const spared = points.filter(([, { passes, deaths }]) => deaths === 0 && passes > 0);
  const unseen = points.filter(([, { passes }]) => passes === 0);
  const lines = [`  crash points: a process died at ${died} of ${points.length}`];
  if (spared.length > 0) lines.push(`    passed, and nobody died at: ${names(spared)}`);
  if (unseen.length > 0) lines.push(`    not reached: ${names(unseen)}`);
  return lines;
}

/** The first column flush left, the others flush right. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  "),
  );
}
