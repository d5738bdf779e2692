/** Scenarios as text, and how a failing seed becomes a short one. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { ConfigError } from "#src/model/index.js";
import {
  bugs,
  drawScenario,
  readScenario,
  runScenario,
  type Scenario,
  shrink,
  shrinkSeed,
  type Strike,
  writeScenario,
} from "#src/sim/index.js";

const text = (scenario: Scenario): string => writeScenario({ scenario, bug: null, expected: null, remarks: ["why"] });

function scheduled(seed: number, schedule: readonly Strike[]): Scenario {
  const drawn = drawScenario({ seed, replicas: 5 });
  const standing = [...drawn.faults].filter(([, meanMs]) => meanMs === 0);
  const faults = new Map([...standing, ...schedule.map(({ fault }) => [fault, 1] as const)]);
  return { ...drawn, faults, schedule };
}

describe("scenarios as text", () => {
  test("what is written is read again", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const scenario = scheduled(seed, [
        { atMs: 12, fault: "crash", draw: 0 },
        { atMs: 12.5, fault: "pause", draw: 0xffffffff },
      ]);
      const read = readScenario(text(scenario));
      assert.deepEqual(read.scenario, scenario, `seed ${seed}`);
      assert.deepEqual([read.bug, read.expected, read.remarks], [null, null, ["why"]]);
    }
  });

  test("what is written of several groups is read again, and what they can't be is refused", () => {
    for (const execution of ["psmr", "opt-psmr"]) {
      for (let seed = 1; seed <= 20; seed++) {
        const scenario: Scenario = { ...drawScenario({ seed, groups: 2 + (seed % 3), execution }), schedule: [] };
        assert.deepEqual(readScenario(text(scenario)).scenario, scenario, `seed ${seed}`);
      }
    }
    const good = text({ ...drawScenario({ seed: 1, groups: 2, execution: "opt-psmr" }), schedule: [] });
    const cases: readonly (readonly [field: string, value: string, why: RegExp])[] = [
      ["count", "1", /several groups are 2 at least, got 1/],
      ["count", "17", /from 0 to 16/],
      ["merge", "sometimes", /merge is points or skips, got sometimes/],
      ["barrier", "never", /barrier is run or command, got never/],
      ["resubmit", "nobody", /resubmit is replicas or client, got nobody/],
      ["resubmit", "", /groups.resubmit has one value/],
    ];
    for (const [field, value, why] of cases) {
      const bad = good.replace(new RegExp(`^groups\\.${field} .*$`, "m"), `groups.${field} ${value}`);
      assert.throws(
        () => readScenario(bad),
        (error) => error instanceof ConfigError && why.test(error.message),
        String(why),
      );
    }
    assert.throws(
      () => drawScenario({ seed: 1, groups: 2, resubmit: "client" }),
      /goes with execution opt-psmr, got psmr/,
    );
    assert.throws(() => readScenario(good.replace(/^groups\.merge .*\n/m, "")), /does not say groups.merge/);
  });

  test("what is wrong is named by its line", () => {
    const good = text(scheduled(1, [{ atMs: 1, fault: "crash", draw: 1 }]));
    const cases: readonly (readonly [string, RegExp])[] = [
      [good.replace("synod scenario 1", "synod scenario 2"), /line 1 /],
      [`${good}at 5 earthquake 1\n`, /there is no fault earthquake/],
      [`${good}at -5 crash 1\n`, /a strike is/],
      [`${good}at 5 crash 4294967296\n`, /a strike is/],
      [`${good}at 5 crash\n`, /a strike is/],
      [`${good}fault earthquake 5\n`, /there is no fault earthquake/],
      [`${good}fault crash -5\n`, /a fault is/],
      [`${good}fault crash soon\n`, /a fault is/],
      [`${good}fault crash 5 6\n`, /a fault is/],
      [`${good}colour red\n`, /there is no field colour/],
      [`${good}workload.clients 1000000\n`, /from 0 to 64/],
      [`${good}safetyMs NaN\n`, /safetyMs is a number/],
      [good.replace(/^replicas .*\n/m, ""), /does not say replicas/],
      [good.replace(/^expect .*\n/m, ""), /does not say what to expect/],
      [good.replace(/^execution .*\n/m, "execution imaginary\n"), /imaginary/],
      ["synod scenario 1\n".padEnd(300_000, "#"), /at most/],
    ];
    for (const [bad, why] of cases) {
      assert.throws(
        () => readScenario(bad),
        (error) => error instanceof ConfigError && why.test(error.message),
        String(why),
      );
    }
  });
});

describe("shrinking", () => {
  const strikes = Array.from({ length: 40 }, (_, index): Strike => ({
    atMs: 100 * index,
    fault: "crash",
    draw: index,
  }));

  test("leaves what the failure needs and nothing else", () => {
    // It takes the strikes 7 and 23, in this order, and two clients.
    const attempt = ({ schedule, workload }: Scenario): number | null => {
      const needed = (schedule ?? []).filter(({ draw }) => draw === 7 || draw === 23);
      return needed.length === 2 && workload.clients >= 2 ? (needed[1] as Strike).atMs : null;
    };
    const { scenario, complete, runs } = shrink(scheduled(3, strikes), attempt);
    assert.ok(complete && runs < 400, `${runs} runs`);
    assert.deepEqual(
      scenario.schedule?.map(({ draw }) => draw),
      [7, 23],
    );
    assert.deepEqual([scenario.workload.clients, scenario.workload.lanes, scenario.replicas], [2, 1, 3]);
    // Pauses of up to 50 ms are left alone.
    assert.ok(scenario.safetyMs < 250, `${scenario.safetyMs} ms`);
  });

  test("leaves two groups, and of them what the failure needs", () => {
    const drawn = drawScenario({ seed: 3, groups: 5, execution: "opt-psmr", merge: "skips", resubmit: "client" });
    const failing: Scenario = { ...drawn, schedule: strikes };
    const { scenario } = shrink(failing, ({ groups, schedule }) => {
      return groups?.merge === "skips" && (schedule ?? []).some(({ draw }) => draw === 7) ? 700 : null;
    });
    assert.deepEqual(scenario.groups, {
      count: 2,
      merge: "skips",
      barrier: "run",
      resubmit: "replicas",
      bellMsMax: 0.05,
      oneDown: 0,
    });
    assert.equal(readScenario(text(scenario)).scenario.groups?.merge, "skips");
  });

  test("ends within its bound of runs, with the best so far", () => {
    let runs = 0;
    const attempt = ({ schedule }: Scenario): number | null => {
      runs++;
      return (schedule ?? []).some(({ draw }) => draw === 7) ? 3900 : null;
    };
    const shrunk = shrink(scheduled(3, strikes), attempt, 5);
    assert.deepEqual([runs, shrunk.runs, shrunk.complete], [5, 5, false]);
    assert.ok((shrunk.scenario.schedule?.length ?? 0) < strikes.length);
  });

  test("a seed that fails becomes a text that fails alike, and passes without its bug", () => {
    const bug = bugs.find(({ name }) => name === "vote-before-persist");
    assert.ok(bug !== undefined);
    let shrunk = null;
    for (let seed = bug.seeds[0]; seed <= bug.seeds[1] && shrunk === null; seed++) {
      shrunk = shrinkSeed({ ...bug.arguments, seed }, bug, 60);
    }
    assert.ok(shrunk !== null);
    const { scenario, expected } = readScenario(shrunk.text);
    assert.equal(expected, bug.invariant);
    const replayed = runScenario(scenario, bug.plant());
    assert.deepEqual([replayed.invariant, replayed.traceDigest], [bug.invariant, shrunk.result.traceDigest]);
    assert.ok(replayed.operations < shrunk.first.operations);
    const { passed, message } = runScenario(scenario);
    assert.ok(passed, `without the bug: ${message}`);
  });
});
