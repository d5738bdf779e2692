/**
 * Clusters of opt-PSMR as processes: commands that fail their safety check come again, whoever sends them, while replicas are
 * killed and started again, and all replicas end in the same state.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import {
  finished,
  type JsonLine,
  type ReplicaEntry,
  synod,
  type SynodProcess,
  temporaryDirectory,
} from "./synod-process.js";

/** Few keys, so that many leaves are at their least or their most, and much of the load changes the tree's structure. */
const KEYS = 300;
const groups = ["--groups", "2", "--execution", "opt-psmr", "--service", "btree"] as const;
const load = ["--workload", "insert-delete", "--keys", String(KEYS), "--clients", "2", "--window", "8", "--json"];

type Admin = ReplicaEntry & { readonly admin: string };

/** What the threads of a replica have counted of their commands, by the metric's name in the middle. */
async function counted({ admin }: Admin): Promise<Readonly<Record<"passed" | "failed" | "conservative", number>>> {
  const page = await (await fetch(`http://${admin}/metrics`)).text();
  const sum = (name: string): number =>
    [...page.matchAll(new RegExp(`^${name}\\{group="g_[12]"\\} (\\d+)$`, "gm"))].reduce(
      (all, [, n]) => all + Number(n),
      0,
    );
  return {
    passed: sum("synod_optimistic_passed_total"),
    failed: sum("synod_optimistic_failed_total"),
    conservative: sum("synod_conservative_total"),
  };
}

/** The states of all replicas are the same, each when it has come as far as it has to: one that was away may take its time. */
async function assertEqualStates(t: Parameters<typeof finished>[0], data: string): Promise<void> {
  for (;;) {
    const { code, lines } = await finished(t, ["status", "--data", data, "--json"]);
    // Behind a kill a coordinator may just be elected.
    if (code !== 0) continue;
    const replicas = (lines[0] as JsonLine)["replicas"] as readonly {
      readonly digest: { readonly hex: string } | null;
    }[];
    const digests = replicas.flatMap(({ digest }) => digest?.hex ?? []);
    if (digests.length < replicas.length) continue;
    assert.equal(new Set(digests).size, 1, digests.join(" "));
    return;
  }
}

/** How many commands of a load were answered, and of how many nobody knows. */
function answers({ lines, stderr }: Awaited<ReturnType<typeof finished>>): {
  readonly commands: number;
  readonly errors: number;
} {
  const [report] = lines;
  assert.ok(report !== undefined, stderr);
  return { commands: report["commands"] as number, errors: report["errors"] as number };
}

async function died(up: SynodProcess, { id, pid }: ReplicaEntry): Promise<void> {
  process.kill(pid, "SIGKILL");
  await up.line((line) => line["event"] === "died" && line["id"] === id);
}

describe("a cluster of opt-PSMR", () => {
  for (const flags of [
    ["--merge", "points", "--barrier", "run", "--resubmit", "replicas"],
    ["--merge", "points", "--barrier", "command", "--resubmit", "client"],
  ]) {
    test(`${flags.join(" ")}: what fails comes again, through kills and restarts`, async (t) => {
      const data = join(temporaryDirectory(t), "data");
      const up = synod(t, ["up", "--data", data, "--port", "0", "--json", ...groups, ...flags]);
      const [first, second, third] = (await up.ready()) as [Admin, Admin, Admin];
      const calm = await finished(t, ["bench", "--data", data, "--seconds", "1", ...load]);
      const { commands, errors } = answers(calm);
      assert.deepEqual([commands > 0, errors], [true, 0], calm.stderr);
      await assertEqualStates(t, data);
      const counts = await Promise.all([first, second, third].map(counted));
      for (const { passed, failed, conservative } of counts) {
        assert.ok(failed > 0 && passed > failed, JSON.stringify(counts));
        assert.equal(conservative, failed, "each of them has been executed");
      }
      // The same commands fail everywhere (O1).
      assert.equal(new Set(counts.map(({ failed }) => failed)).size, 1, JSON.stringify(counts));

      const stormy = finished(t, ["bench", "--data", data, "--seconds", "4", ...load]);
      await died(up, third);
      const back = synod(t, ["replica", "3", "--data", data, "--json"]);
      await back.ready();
      assert.ok(answers(await stormy).commands > 0);
      await assertEqualStates(t, data);

      back.kill("SIGKILL");
      for (const { pid } of [first, second]) process.kill(pid, "SIGKILL");
      for (const { id } of [first, second]) await up.line((line) => line["event"] === "died" && line["id"] === id);
      up.kill("SIGTERM");
      assert.equal(await up.exit(), 0);
      const next = synod(t, ["up", "--data", data, "--json"]);
      await next.ready();
      await assertEqualStates(t, data);
    });
  }
});
