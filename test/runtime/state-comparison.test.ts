/** Comparison of states over a network that loses, delays and reorders frames: never a false alarm, and the right verdict. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ByteWriter, Prng } from "#src/base/index.js";
import type { Digest } from "#src/model/index.js";
import type { EventLog, FramePort } from "#src/platform/index.js";
import { type Divergence, StateComparison } from "#src/runtime/replica/state-comparison.js";

interface Frame {
  readonly from: number;
  readonly to: number;
  readonly body: Uint8Array;
}

/** A replica that executes one log of instances with some commands each; `wrongAfter`: the first instance it executes otherwise. */
class Machine {
  readonly id: number;
  executed = 0;
  ordered = 0;
  diverged: Divergence | null = null;
  readonly events: string[] = [];
  readonly comparison: StateComparison;
  readonly #wrongAfter: number;
  readonly #writer = new ByteWriter();
  #to = 0;

  constructor(id: number, size: number, wrongAfter: number, sent: Frame[], everyCommands: number) {
    this.id = id;
    this.#wrongAfter = wrongAfter;
    const peers = {
      begin: (to: number) => {
        this.#to = to;
        this.#writer.clear();
        return this.#writer;
      },
      end: () => sent.push({ from: id, to: this.#to, body: this.#writer.toBytes() }),
    } as unknown as FramePort;
    const log = (event: string): void => void this.events.push(event);
    const events = { info: log, warn: log, error: log } as EventLog;
    this.comparison = new StateComparison({
      self: id,
      replicas: Array.from({ length: size }, (_, index) => index + 1),
      peers,
      events,
      everyCommands,
      digest: (into) => this.#digest(into),
      diverged: (divergence) => {
        assert.equal(this.diverged, null, "it is said once");
        this.diverged = divergence;
      },
    });
  }

  #digest(into: Digest): void {
    into.fill(this.executed);
    if (this.executed >= this.#wrongAfter) into[0] = 1000 + this.id;
  }

  execute(commands: number): void {
    this.executed++;
    this.ordered += commands;
    this.comparison.executed(this.executed, this.ordered);
  }

  /** As by a restart or a state transfer: the state of another, at a later position, and right. */
  install(executed: number, ordered: number): void {
    this.executed = executed;
    this.ordered = ordered;
    this.comparison.begin(executed, ordered);
  }

  receive({ from, body }: Frame): void {
    const view = new DataView(body.buffer);
    assert.ok(this.comparison.onFrame(from, view, 0, body.length, this.executed, this.ordered));
  }
}

function run(seed: number, size: number, wrong: ReadonlyMap<number, number>, lossy: boolean): Machine[] {
  const prng = new Prng(seed);
  const sent: Frame[] = [];
  const machines = Array.from(
    { length: size },
    (_, index) => new Machine(index + 1, size, wrong.get(index + 1) ?? Infinity, sent, 10),
  );
  const log = Array.from({ length: 300 }, () => prng.below(6));
  const deliver = (index: number): void => {
    const [frame] = sent.splice(index, 1) as [Frame];
    if (!lossy || !prng.chance(0.2)) (machines[frame.to - 1] as Machine).receive(frame);
  };
  while (machines.some(({ executed }) => executed < log.length)) {
    const machine = prng.pick(machines);
    if (machine.executed < log.length) machine.execute(log[machine.executed] as number);
    if (prng.chance(0.1)) machine.comparison.flush();
    if (prng.chance(0.05)) machine.comparison.ask(machine.executed, machine.ordered);
    if (prng.chance(0.005) && !wrong.has(machine.id)) {
      const ahead = Math.min(log.length, machine.executed + prng.below(40));
      machine.install(
        ahead,
        log.slice(0, ahead).reduce((sum, count) => sum + count, 0),
      );
    }
    while (sent.length > 0 && prng.chance(0.6)) deliver(prng.below(Math.min(sent.length, 20)));
  }
  // All at rest, and everything arrives.
  for (const { comparison } of machines) {
    comparison.flush();
    comparison.onPeer();
  }
  (machines[0] as Machine).comparison.ask(log.length, (machines[0] as Machine).ordered);
  while (sent.length > 0) (machines[(sent[0] as Frame).to - 1] as Machine).receive(sent.shift() as Frame);
  return machines;
}

describe("comparison of states", () => {
  it("raises no alarm about equal services, however far apart they run and whatever is lost", () => {
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(2, 3, 5), (seed, size) => {
        for (const machine of run(seed, size, new Map(), true)) {
          assert.deepEqual([machine.diverged, machine.events, machine.comparison.differing], [null, [], []]);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("stops the replica that differs from a majority, and says between which positions", () => {
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(3, 5), fc.integer({ min: 1, max: 300 }), (seed, size, after) => {
        const wrong = 1 + ((seed >>> 1) % size);
        const machines = run(seed, size, new Map([[wrong, after]]), true);
        for (const { id, diverged, comparison } of machines) {
          if (id !== wrong) {
            // Whether it heard of it before the other one fell silent depends on what was lost.
            assert.equal(diverged, null);
            assert.ok(comparison.differing.every((other) => other === wrong));
          } else {
            assert.ok(diverged !== null && diverged.equalThrough < after && diverged.differsAt >= after);
            assert.ok(diverged.commandsEqual <= diverged.commandsDiffer);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it("says on all of them that they differ, where no majority has one state", () => {
    for (const [size, wrong] of [
      [2, new Map([[2, 40]])],
      [
        3,
        new Map([
          [1, 40],
          [3, 90],
        ]),
      ],
    ] as const) {
      for (const machine of run(5, size, wrong, false)) {
        assert.equal(machine.diverged === null || size > 2, true);
        assert.ok(machine.diverged !== null || machine.comparison.differing.length > 0);
      }
    }
  });

  it("refuses malformed frames", () => {
    const machine = new Machine(1, 3, Infinity, [], 10);
    const frame = (change: (view: DataView) => void, bytes = 40): boolean => {
      const view = new DataView(new ArrayBuffer(bytes));
      view.setUint16(0, 2, true);
      view.setUint32(4, Math.max(1, Math.floor((bytes - 8) / 32)), true);
      change(view);
      return machine.comparison.onFrame(2, view, 0, bytes, 0, 0);
    };
    const none = (): void => undefined;
    assert.ok(frame(none) && frame(none, 72));
    // Another version's digest of the same state is no malformed one, and no other state either.
    machine.execute(10);
    assert.ok(
      frame((view) => {
        view.setUint16(0, 3, true);
        view.setFloat64(8, 1, true);
      }),
    );
    assert.deepEqual([machine.events, machine.comparison.differing], [[], []]);
    assert.ok(!frame(none, 39) && !frame(none, 41) && !frame(none, 8) && !frame(none, 8 + 17 * 32));
    assert.ok(!machine.comparison.onFrame(2, new DataView(new ArrayBuffer(4)), 0, 4, 0, 0));
    assert.ok(!frame((view) => view.setFloat64(8, 1.5, true)) && !frame((view) => view.setFloat64(8, NaN, true)));
    assert.ok(!frame((view) => view.setFloat64(16, -1, true)) && !frame((view) => view.setUint16(2, 2, true)));
    assert.ok(!frame((view) => view.setUint32(4, 0, true)) && !frame((view) => view.setUint32(4, 2 ** 31, true)));
  });
});
