/** The simulated network: determinism, partitions, crashes, and what datagrams suffer. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SimKernel, SimNetwork, type FramePort, type SimLinkSettings, type SimProcess } from "#src/platform/index.js";
import { patterned, Recorder, send } from "./frame-port.suite.js";

interface World {
  readonly kernel: SimKernel;
  readonly network: SimNetwork;
  readonly processes: SimProcess[];
  readonly ports: FramePort[];
  readonly recorders: Recorder[];
}

function world(seed: number, replicas: number, settings: Partial<SimLinkSettings> = {}): World {
  const kernel = new SimKernel(seed);
  const network = new SimNetwork(kernel, settings);
  const made: World = { kernel, network, processes: [], ports: [], recorders: [] };
  for (let self = 1; self <= replicas; self++) boot(made, self);
  kernel.run(1000);
  return made;
}

/** Starts replica `self`, again if need be. */
function boot(made: World, self: number): void {
  const process = made.kernel.spawn(`r${self}`);
  const port = made.network.peers(process, self);
  const recorder = new Recorder();
  made.processes[self - 1] = process;
  made.ports[self - 1] = port;
  made.recorders[self - 1] = recorder;
  port.start(recorder);
}

function sendAll(port: FramePort, link: number, count: number, from = 0): number {
  let taken = 0;
  for (let i = from; i < from + count; i++) {
    if (send(port, link, 1 + (i % 100), patterned(i % 70, i))) taken++;
    port.flush();
  }
  return taken;
}

const at = <T>(list: readonly T[], index: number): T => list[index] as T;

describe("the simulated network", () => {
  test("one seed, one history; another seed, another", () => {
    const digest = (seed: number): string => {
      const { kernel, network, ports } = world(seed, 3, {
        lossProbability: 0.1,
        spikeProbability: 0.1,
        spikeMaxMs: 50,
      });
      for (let round = 0; round < 20; round++) {
        for (const [index, port] of ports.entries()) sendAll(port, ((index + 1) % 3) + 1, 5);
        if (round === 5) network.partition([["r1"], ["r2", "r3"]]);
        if (round === 12) network.heal();
        if (round === 15) network.reset("r2", "r3");
        kernel.run(kernel.now + 20);
      }
      kernel.run(kernel.now + 5000);
      return `${kernel.trace.hex()} ${kernel.events} ${JSON.stringify(network.counts)}`;
    };
    assert.equal(digest(1), digest(1));
    assert.notEqual(digest(1), digest(2));
  });

  test("a stream loses and reorders nothing, whatever the delays and losses", () => {
    const { kernel, network, ports, recorders } = world(3, 2, {
      lossProbability: 0.3,
      spikeProbability: 0.3,
      spikeMaxMs: 100,
      delayMaxMs: 20,
    });
    for (let i = 0; i < 300; i++) kernel.after(i, () => sendAll(at(ports, 0), 2, 1, i));
    kernel.run(kernel.now + 60_000);
    const { frames } = at(recorders, 1);
    assert.equal(frames.length, 300);
    for (const [i, frame] of frames.entries()) assert.deepEqual(frame.body, patterned(i % 70, i));
    assert.equal(network.counts.lost, 0);
  });

  test("datagrams are lost, doubled and overtaken, and arrive undamaged", () => {
    const { kernel, network, ports, recorders } = world(4, 2, {
      mode: "datagram",
      lossProbability: 0.2,
      duplicateProbability: 0.2,
      delayMaxMs: 10,
    });
    for (let i = 0; i < 300; i++) kernel.after(i * 0.1, () => sendAll(at(ports, 0), 2, 1, i));
    kernel.run(kernel.now + 1000);
    const { frames } = at(recorders, 1);
    const { lost, doubled } = network.counts;
    assert.ok(lost > 20 && doubled > 20, JSON.stringify(network.counts));
    assert.equal(frames.length, 300 - lost + doubled);
    const numbers = frames.map((frame) => {
      const i = [...Array(300).keys()].find((n) => 1 + (n % 100) === frame.kind && frame.body.length === n % 70);
      assert.ok(i !== undefined);
      return i;
    });
    assert.ok(
      numbers.some((number, index) => index > 0 && number < at(numbers, index - 1)),
      "none was overtaken",
    );
    assert.equal(at(ports, 0).inFlightBytes(2), 0);
  });

  test("a cut is silent; healing delivers what was held back, or resets", () => {
    const heal = (resetProbability: number): World => {
      const made = world(5, 2, { resetProbability });
      const { kernel, network, ports, recorders } = made;
      network.partition([["r1"], ["r2"]]);
      assert.equal(sendAll(at(ports, 0), 2, 10), 10);
      kernel.run(kernel.now + 10_000);
      assert.equal(at(recorders, 1).frames.length, 0);
      assert.equal(at(recorders, 1).count("down"), 0);
      assert.ok(at(ports, 0).inFlightBytes(2) > 0);
      network.heal();
      kernel.run(kernel.now + 10_000);
      return made;
    };
    const delivered = heal(0);
    assert.equal(at(delivered.recorders, 1).frames.length, 10);
    assert.equal(at(delivered.recorders, 1).count("down"), 0);
    const reset = heal(1);
    assert.equal(at(reset.recorders, 1).frames.length, 0);
    for (const recorder of reset.recorders) {
      assert.deepEqual(
        recorder.told.map((told) => told.what),
        ["up", "down", "up"],
      );
    }
  });

  test("an asymmetric cut stops one direction only, and its bytes are bounded", () => {
    const { kernel, network, ports, recorders } = world(6, 2, { inFlightBytesMax: 2000, resetProbability: 0 });
    network.cut("r1", "r2");
    const taken = sendAll(at(ports, 0), 2, 500);
    assert.ok(taken < 100 && at(ports, 0).inFlightBytes(2) < 2200, `${taken} taken`);
    sendAll(at(ports, 1), 1, 10);
    kernel.run(kernel.now + 1000);
    assert.equal(at(recorders, 0).frames.length, 10);
    assert.equal(at(recorders, 1).frames.length, 0);
    network.healLink("r1", "r2");
    kernel.run(kernel.now + 1000);
    assert.equal(at(recorders, 1).frames.length, taken);
    assert.equal(at(recorders, 0).count("drain"), 1);
  });

  for (const mode of ["stream", "datagram"] as const) {
    test(`a clogged link (${mode}) takes what it is given, delivers nothing, and then everything`, () => {
      const { kernel, network, ports, recorders } = world(11, 2, { mode, inFlightBytesMax: 2000, resetProbability: 1 });
      network.clog("r1", "r2");
      const taken = sendAll(at(ports, 0), 2, 500);
      assert.ok(taken > 20 && taken < 100 && at(ports, 0).inFlightBytes(2) < 2200, `${taken} taken`);
      sendAll(at(ports, 1), 1, 10);
      kernel.run(kernel.now + 10_000);
      assert.deepEqual([at(recorders, 0).frames.length, at(recorders, 1).frames.length], [10, 0]);
      assert.equal(at(recorders, 0).count("down") + at(recorders, 1).count("down"), 0, "nobody sees it break");
      network.unclog("r1", "r2");
      kernel.run(kernel.now + 1000);
      assert.equal(at(recorders, 1).frames.length, taken);
      assert.equal(at(recorders, 0).count("drain"), 1);
      assert.equal(network.counts.clogged, taken);
    });
  }

  test("what a cut holds back waits for the clog of the same link, and the other way round", () => {
    for (const [first, second] of [
      ["unclog", "healLink"],
      ["healLink", "unclog"],
    ] as const) {
      const { kernel, network, ports, recorders } = world(12, 2, { resetProbability: 0 });
      network.cut("r1", "r2");
      sendAll(at(ports, 0), 2, 5);
      network.clog("r1", "r2");
      sendAll(at(ports, 0), 2, 5, 5);
      network[first]("r1", "r2");
      kernel.run(kernel.now + 1000);
      assert.equal(at(recorders, 1).frames.length, 0, `after ${first} alone`);
      network[second]("r1", "r2");
      kernel.run(kernel.now + 1000);
      assert.equal(at(recorders, 1).frames.length, 10);
    }
  });

  test("a partial partition: two replicas don't reach each other, and the third reaches both", () => {
    const { kernel, network, ports, recorders } = world(13, 3);
    network.cut("r1", "r2");
    network.cut("r2", "r1");
    for (const [index, port] of ports.entries()) {
      for (let to = 1; to <= 3; to++) if (to !== index + 1) sendAll(port, to, 1);
    }
    kernel.run(kernel.now + 1000);
    assert.deepEqual(
      recorders.map(({ frames }) => frames.length),
      [1, 1, 2],
    );
  });

  test("the end of a connection is heard of when the way of that connection is free, not another's", () => {
    const { kernel, network, processes, recorders } = world(14, 3);
    network.cut("r1", "r2");
    network.cut("r3", "r2");
    network.crash(at(processes, 0));
    network.healLink("r3", "r2");
    kernel.run(kernel.now + 1000);
    assert.equal(at(recorders, 1).count("down"), 0);
    network.healLink("r1", "r2");
    kernel.run(kernel.now + 1000);
    assert.equal(at(recorders, 1).count("down"), 1);
  });

  test("bytes of a stream that are lost again and again wait twice as long each time", () => {
    const { kernel, network, ports, recorders } = world(15, 2, { retransmitMs: 100 });
    network.setLink("r1", "r2", { lossProbability: 1 });
    const before = kernel.now;
    sendAll(at(ports, 0), 2, 1);
    kernel.run(before + 1499);
    assert.equal(at(recorders, 1).frames.length, 0, "four losses take 100 (1 + 2 + 4 + 8) ms");
    kernel.run(before + 1502);
    assert.equal(at(recorders, 1).frames.length, 1);
    assert.equal(network.counts.retransmitted, 4);
  });

  test("a crash takes the links down and the next incarnation brings them up; the dead hear nothing", () => {
    const made = world(7, 3);
    const { kernel, network, processes, ports, recorders } = made;
    const dead = at(recorders, 0);
    sendAll(at(ports, 1), 1, 5);
    network.crash(at(processes, 0));
    const toldBefore = dead.told.length;
    kernel.run(kernel.now + 1000);
    assert.equal(dead.told.length, toldBefore);
    for (const index of [1, 2]) assert.equal(at(recorders, index).count("down"), 1);
    assert.equal(at(ports, 1).begin(1, 1), null);
    boot(made, 1);
    kernel.run(kernel.now + 2000);
    for (const index of [1, 2]) assert.equal(at(recorders, index).count("up"), 3);
    assert.equal(sendAll(at(ports, 1), 1, 5), 5);
    kernel.run(kernel.now + 1000);
    assert.equal(at(recorders, 0).frames.length, 5);
  });

  test("nobody hears of a crash behind a cut before it heals", () => {
    const { kernel, network, processes, recorders } = world(8, 2);
    network.partition([["r1"], ["r2"]]);
    network.crash(at(processes, 0));
    kernel.run(kernel.now + 10_000);
    assert.equal(at(recorders, 1).count("down"), 0);
    network.heal();
    kernel.run(kernel.now + 10_000);
    assert.equal(at(recorders, 1).count("down"), 1);
  });

  test("what a crashed process had sent arrives in some histories and not in others", () => {
    const outcomes = new Set<number>();
    for (let seed = 0; seed < 20; seed++) {
      const { kernel, network, processes, ports, recorders } = world(seed, 2);
      sendAll(at(ports, 0), 2, 3);
      network.crash(at(processes, 0));
      kernel.run(kernel.now + 1000);
      outcomes.add(at(recorders, 1).frames.length);
      const last = at(recorders, 1).told.at(-1);
      assert.equal(last?.what, "down", "frames of a connection come before its end");
    }
    assert.deepEqual(
      [...outcomes].sort((a, b) => a - b),
      [0, 3],
    );
  });

  test("a paused process holds its frames, in bounded memory, and gets them when it continues", () => {
    const { kernel, ports, processes, recorders } = world(9, 2, { inFlightBytesMax: 2000 });
    at(processes, 1).pause();
    let taken = sendAll(at(ports, 0), 2, 10);
    kernel.run(kernel.now + 1000);
    taken += sendAll(at(ports, 0), 2, 500, taken);
    assert.ok(taken < 200);
    assert.equal(at(recorders, 1).frames.length, 0);
    at(processes, 1).resume();
    kernel.run(kernel.now + 1000);
    assert.equal(at(recorders, 1).frames.length, taken);
  });

  test("clients and replicas: links are replica ids and serials", () => {
    const kernel = new SimKernel(10);
    const network = new SimNetwork(kernel);
    const listeners = [1, 2].map((self) => network.listener(kernel.spawn(`r${self}`), self));
    const served = listeners.map((listener) => {
      const recorder = new Recorder();
      listener.start(recorder);
      return recorder;
    });
    const clients = ["c1", "c2", "c3"].map((host) => {
      const port = network.dialler(kernel.spawn(host), host, [1, 2]);
      const recorder = new Recorder();
      port.start(recorder);
      return { port, recorder };
    });
    kernel.run(1000);
    for (const recorder of served) {
      assert.deepEqual(
        recorder.told.map((told) => told.link),
        [1, 2, 3],
      );
    }
    for (const { port, recorder } of clients) {
      assert.deepEqual(
        recorder.told.map((told) => told.link).sort((a, b) => a - b),
        [1, 2],
      );
      sendAll(port, 2, 4);
    }
    kernel.run(kernel.now + 1000);
    assert.equal(at(served, 0).frames.length, 0);
    assert.equal(at(served, 1).frames.length, 12);
    network.setLink("c1", "r1", { delayMinMs: 500, delayMaxMs: 500 });
    sendAll(at(clients, 0).port, 1, 1);
    kernel.run(kernel.now + 400);
    assert.equal(at(served, 0).frames.length, 0);
    kernel.run(kernel.now + 200);
    assert.equal(at(served, 0).frames.length, 1);
  });
});
