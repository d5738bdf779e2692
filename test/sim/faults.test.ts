/**
 * Each fault of the simulated world: it comes about, what it does is seen, and it is over when the faults have ended. And
 * what seeds draw reaches as far as the fault model says.
 */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { TraceCode } from "#src/model/index.js";
import {
  bugs,
  drawScenario,
  type FaultName,
  faultNames,
  Nemesis,
  runSeed,
  type Scenario,
  SimWorld,
} from "#src/sim/index.js";

const STRIKE_MS = 1500;
const END_MS = 9000;

interface Struck {
  readonly world: SimWorld;
  /** Runs until so many ms after the strike. */
  readonly until: (ms: number) => void;
  /** Ends the faults and runs until everything has settled. */
  readonly calm: () => void;
}

const three = { replicas: 3, durability: "fsync", service: "kv", connections: 0 } as const;

/** A world that one strike (or several with draws of their own, one after the other) is about to hit at `STRIKE_MS`. */
function before(fault: FaultName, draws: readonly number[], apartMs = 1): Struck {
  const drawn = drawScenario({ seed: 4, ...three, faults: [fault] });
  const schedule = draws.map((draw, index) => ({ atMs: STRIKE_MS + index * apartMs, fault, draw }));
  return begin({ ...drawn, safetyMs: END_MS, schedule });
}

/** The same with replicas of two groups. */
function beforeGroups(fault: FaultName, draws: readonly number[]): Struck {
  const drawn = drawScenario({ seed: 4, ...three, service: "btree", groups: 2, merge: "points", faults: [fault] });
  const schedule = draws.map((draw, index) => ({ atMs: STRIKE_MS + index, fault, draw }));
  return begin({ ...drawn, safetyMs: END_MS, schedule });
}

/** A world in which the fault holds all the time. */
function holding(fault: FaultName, network: Partial<Scenario["network"]>): Struck {
  const drawn = drawScenario({ seed: 4, ...three, faults: [fault] });
  return begin({ ...drawn, safetyMs: END_MS, network: { ...drawn.network, ...network } });
}

function begin(scenario: Scenario): Struck {
  const world = new SimWorld(scenario);
  const nemesis = new Nemesis(world);
  world.start();
  nemesis.start();
  world.run(STRIKE_MS - 1);
  return {
    world,
    until: (ms) => world.run(STRIKE_MS + ms),
    calm: () => {
      world.run(END_MS);
      nemesis.stop();
      world.run(END_MS + 5000);
    },
  };
}

/** Directions between replicas that are blocked now. */
function blocked({ network, replicas }: SimWorld, kind: "cut" | "clogged"): string[] {
  const hosts = replicas.map(({ id }) => `r${id}`);
  const pairs = hosts.flatMap((from) => hosts.filter((to) => to !== from).map((to) => [from, to] as const));
  return pairs.filter(([from, to]) => network.route(from, to)[kind]).map(([from, to]) => `${from}>${to}`);
}

/** The first of some draws whose strike leaves the world as wanted right after it. */
function drawThat(fault: FaultName, wanted: (world: SimWorld) => boolean): Struck {
  for (let draw = 1; draw <= 40; draw++) {
    const struck = before(fault, [draw]);
    struck.until(1);
    if (wanted(struck.world)) return struck;
  }
  assert.fail(`no strike of ${fault} did what it is for`);
}

const running = ({ replicas }: SimWorld): number => replicas.filter((replica) => replica.running).length;
const traced = ({ traced: counts }: SimWorld, code: TraceCode): number => counts.get(code) ?? 0;
const noted = ({ notes }: SimWorld, what: RegExp): boolean => notes.some((note) => what.test(note));

/** What is seen of each fault. Every entry fails when its fault does nothing. */
const seen: Record<FaultName, () => SimWorld> = {
  loss: () => {
    const { world, until } = holding("loss", { mode: "datagram", lossProbability: 0.3 });
    until(3000);
    const { lost, delivered } = world.network.counts;
    const share = lost / (lost + delivered);
    assert.ok(share > 0.25 && share < 0.35, `${share} of all datagrams were lost`);
    return world;
  },
  delay: () => {
    const { world, until } = holding("delay", { spikeProbability: 0.2, spikeMaxMs: 100 });
    until(1000);
    return world;
  },
  duplicate: () => {
    const { world, until } = holding("duplicate", { mode: "datagram", duplicateProbability: 0.5, lossProbability: 0 });
    until(3000);
    const { doubled, delivered } = world.network.counts;
    const share = doubled / (delivered - doubled);
    assert.ok(share > 0.4 && share < 0.6, `${share} of all datagrams came twice`);
    return world;
  },
  reorder: () => {
    const { world, until } = holding("reorder", { mode: "datagram" });
    until(1000);
    return world;
  },
  reset: () => {
    const { world, until } = drawThat("reset", ({ network }) => network.counts.resets > 0);
    until(2000);
    return world;
  },
  partition: () => {
    const struck = drawThat("partition", (world) => blocked(world, "cut").length === 4);
    const { world } = struck;
    for (const direction of blocked(world, "cut")) {
      assert.ok(blocked(world, "cut").includes(direction.split(">").reverse().join(">")), "both directions");
    }
    struck.calm();
    assert.ok(world.network.counts.cut > 0);
    return world;
  },
  "one-way": () => {
    const struck = drawThat("one-way", (world) => blocked(world, "cut").length > 0);
    const { world } = struck;
    const cut = blocked(world, "cut");
    assert.ok(
      cut.every((direction) => !cut.includes(direction.split(">").reverse().join(">"))),
      cut.join(" "),
    );
    struck.calm();
    assert.ok(world.network.counts.cut > 0);
    return world;
  },
  partial: () => {
    const struck = drawThat("partial", () => true);
    const { world } = struck;
    const cut = blocked(world, "cut");
    assert.equal(cut.length, 2);
    assert.equal(cut[0], cut[1]?.split(">").reverse().join(">"));
    struck.calm();
    assert.ok(world.network.counts.cut > 0);
    return world;
  },
  isolate: () => {
    const { world, until, calm } = before("isolate", [6]);
    const leader = world.leader()?.id;
    until(1);
    assert.ok(blocked(world, "cut").length >= 2);
    assert.ok(blocked(world, "cut").every((direction) => direction.includes(`r${leader}`)));
    calm();
    return world;
  },
  clog: () => {
    const struck = drawThat("clog", (world) => blocked(world, "clogged").length > 0);
    const { world } = struck;
    struck.calm();
    assert.ok(world.network.counts.clogged > 0);
    assert.equal(world.network.counts.cut, 0);
    return world;
  },
  crash: () => {
    const { world, calm } = drawThat("crash", (world) => running(world) === 2);
    calm();
    return world;
  },
  "crash-point": () => {
    const { world, calm } = before("crash-point", [1, 2, 3, 4, 5, 6], 1000);
    calm();
    assert.ok(noted(world, /was killed (before|after) /));
    return world;
  },
  "crash-all": () => {
    const { world, until, calm } = before("crash-all", [1]);
    until(0);
    assert.equal(running(world), 0);
    calm();
    return world;
  },
  pause: () => {
    const struck = drawThat("pause", ({ replicas }) => replicas.some(({ paused }) => paused));
    struck.calm();
    assert.ok(struck.world.replicas.every(({ paused }) => !paused));
    return struck.world;
  },
  amnesia: () => {
    const { world, calm } = before("amnesia", [2]);
    calm();
    assert.ok(traced(world, TraceCode.rejoined) > 0);
    return world;
  },
  damage: () => {
    const { world, calm } = before("damage", [1, 2, 3, 4, 5, 6], 1000);
    calm();
    assert.ok(noted(world, /has a (damaged log|damaged checkpoint)/));
    return world;
  },
  "slow-disk": () => {
    const slow = ({ replicas }: SimWorld): boolean => replicas.some(({ disk }) => disk.syncLatencyMs.max >= 5);
    const { world, calm } = drawThat("slow-disk", slow);
    calm();
    assert.equal(slow(world), false);
    return world;
  },
  "disk-error": () => {
    const { world, calm } = before("disk-error", [3]);
    calm();
    assert.ok(noted(world, /stops: /));
    return world;
  },
  "bit-rot": () => {
    const { world, calm } = before("bit-rot", [1, 2, 3, 4, 5, 6], 1000);
    calm();
    assert.ok(noted(world, /rotten records/));
    assert.ok(world.repairs > 0, "a replica goes on without what is rotten, and rejoins nowhere");
    return world;
  },
  misdirect: () => {
    const { world, calm } = before("misdirect", [1, 2, 3, 4, 5, 6], 1000);
    calm();
    assert.ok(world.replicas.some(({ disk }) => disk.misdirected > 0));
    assert.ok(world.repairs + traced(world, TraceCode.rejoined) > 0, "it is found out");
    return world;
  },
  misread: () => {
    const { world, calm } = before("misread", [1, 2, 3, 4, 5, 6], 1000);
    calm();
    assert.ok(world.replicas.some(({ disk }) => disk.misreads > 0));
    assert.equal(world.repairs + traced(world, TraceCode.rejoined), 0, "what is read wrongly is read again");
    return world;
  },
  "full-disk": () => {
    const { world, calm } = before("full-disk", [1, 2, 3, 4], 1000);
    calm();
    assert.ok(noted(world, /stops: .*ENOSPC/));
    assert.equal(traced(world, TraceCode.rejoined), 0, "nothing is forgotten");
    return world;
  },
  "lose-log": () => {
    const { world, calm } = before("lose-log", [2]);
    calm();
    assert.ok(noted(world, /its log is gone/));
    assert.ok(traced(world, TraceCode.rejoined) > 0);
    return world;
  },
  "damage-identity": () => {
    const { world, calm } = before("damage-identity", [1, 2, 3], 2000);
    calm();
    assert.ok(noted(world, /its identity file is damaged/));
    assert.ok(traced(world, TraceCode.rejoined) > 0);
    return world;
  },
  stop: () => {
    const { world, calm } = before("stop", [1]);
    calm();
    assert.ok(noted(world, /is stopped/));
    return world;
  },
  transfer: () => {
    const { world, until, calm } = before("transfer", [1]);
    const leader = world.leader()?.id;
    until(1000);
    assert.ok(leader !== undefined && world.leader()?.id !== leader, "leadership is handed over");
    calm();
    return world;
  },
  clock: () => {
    const { world, until, calm } = before("clock", [1]);
    until(1);
    const errors = world.replicas.map(({ wall }) => wall.errorMs);
    assert.ok(new Set(errors).size > 1, errors.join(" "));
    calm();
    return world;
  },
  drift: () => {
    const { world, until, calm } = before("drift", [1, 2, 3]);
    until(10);
    const errors = world.replicas.map(({ wall }) => wall.errorMs);
    until(1010);
    assert.ok(
      world.replicas.some(({ wall }, index) => Math.abs(wall.errorMs - (errors[index] as number)) > 10),
      "a clock gains or loses",
    );
    calm();
    return world;
  },
  client: () => {
    const { world, until, calm } = before("client", [1, 2, 3, 4]);
    const opened = traced(world, TraceCode.sessionOpened);
    until(1000);
    assert.ok(traced(world, TraceCode.sessionOpened) > opened, "the next life opens a session of its own");
    calm();
    return world;
  },
  expire: () => {
    const { world, until, calm } = before("expire", [1, 2, 3, 4]);
    until(0);
    assert.equal(traced(world, TraceCode.sessionExpired), 0);
    calm();
    assert.ok(traced(world, TraceCode.sessionExpired) > 0);
    return world;
  },
  thread: () => {
    const { world, until, calm } = beforeGroups("thread", [1]);
    until(1);
    assert.ok(noted(world, /r\d\.\d stands still for/));
    assert.ok(
      world.replicas.every((replica) => replica.running && !replica.paused),
      "the other threads go on",
    );
    calm();
    return world;
  },
};

describe("each fault comes about, its effect is seen, and it ends", () => {
  for (const fault of faultNames) {
    test(fault, () => {
      const world = seen[fault]();
      assert.ok((world.faultCounts().get(fault) ?? 0) > 0, "it is counted");
      if (world.kernel.now <= END_MS) return;
      assert.equal(running(world), 3);
      assert.deepEqual([blocked(world, "cut"), blocked(world, "clogged")], [[], []]);
      assert.ok(world.leader() !== null, world.describe());
    });
  }
});

describe("when the faults have ended", () => {
  test("a cluster that is safe and has come to a stop is found by the bound on progress, and by nothing before", () => {
    const bug = bugs.find(({ name }) => name === "leads-once");
    assert.ok(bug !== undefined);
    for (let seed = bug.seeds[0]; seed <= bug.seeds[1]; seed++) {
      const { passed, invariant, failedMs, scenario, progressMs } = runSeed({ ...bug.arguments, seed }, bug.plant());
      if (passed) continue;
      assert.equal(invariant, "progress");
      assert.equal(failedMs, scenario.safetyMs + 10_000, "the bound is 10 s of virtual time");
      assert.equal(progressMs, null);
      const unmodified = runSeed({ ...bug.arguments, seed });
      assert.ok(unmodified.passed, unmodified.message ?? "");
      assert.ok((unmodified.progressMs ?? Infinity) < 5000, `${unmodified.progressMs} ms`);
      return;
    }
    assert.fail("no seed found it");
  });
});

describe("what seeds draw", () => {
  const drawn = Array.from({ length: 400 }, (_, seed) => drawScenario({ seed }));
  const most = (of: (scenario: Scenario) => number): number => Math.max(...drawn.map(of));

  test("loss up to 30 %, duplication up to 50 %", () => {
    assert.equal(
      most(({ network }) => network.lossProbability ?? 0),
      0.3,
    );
    assert.equal(
      most(({ network }) => network.duplicateProbability ?? 0),
      0.5,
    );
  });

  test("3, 5 and 7 replicas, and few of other numbers", () => {
    for (const replicas of [3, 5, 7]) {
      assert.ok(drawn.filter((scenario) => scenario.replicas === replicas).length > 20, `${replicas} replicas`);
    }
  });

  test("pauses of 0.1 to 30 s, in phases that are long enough for them", () => {
    const long = drawn.filter(({ safetyMs, faults }) => safetyMs > 20_000 && faults.has("pause"));
    assert.ok(long.length > 3 && long.length < 40, `${long.length} of ${drawn.length}`);
    const scenario = { ...drawScenario({ seed: 1, ...three, replicas: 5, faults: ["pause"] }), safetyMs: 100_000 };
    const schedule = Array.from({ length: 60 }, (_, draw) => ({
      atMs: 1000 + draw * 500,
      fault: "pause" as const,
      draw,
    }));
    const world = new SimWorld({ ...scenario, schedule, workload: { ...scenario.workload, thinkMs: 2000 } });
    const nemesis = new Nemesis(world);
    world.start();
    nemesis.start();
    world.run(32_000);
    const lengths = world.notes.flatMap((note) => /stands still for (\d+) ms/.exec(note)?.[1] ?? []).map(Number);
    assert.ok(lengths.length > 15, `${lengths.length} pauses`);
    assert.ok(lengths.every((ms) => ms >= 100 && ms <= 30_000));
    assert.ok(Math.min(...lengths) < 300 && Math.max(...lengths) > 10_000, lengths.join(" "));
  });

  test("Redis connections in ordinary seeds, whose replies are compared with their order", () => {
    const seed = drawn.findIndex(({ service, workload }) => service === "kv" && workload.connections > 0);
    assert.ok(drawn.filter(({ service, workload }) => service === "kv" && workload.connections > 0).length > 80);
    const result = runSeed({ seed, faults: ["crash", "client"] });
    assert.ok(result.passed, result.message ?? "");
    assert.ok(result.connectionReplies > 100, `${result.connectionReplies}`);
  });
});
