/** A store many times as large as its log's memory, in the simulated world: it goes on answering while its state is written. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ByteWriter, KiB, type Prng } from "#src/base/index.js";
import { TraceCode } from "#src/model/index.js";
import { beginCommand, endCommand, KvOperation, writeArgumentLatin1 } from "#src/service/index.js";
import { drawScenario, type Scenario, SimWorld } from "#src/sim/index.js";
import type { CommandSource, SimCommand } from "#src/sim/workload/index.js";

const VALUE_BYTES = 1 * KiB;
const KEYS = 300;
const LOG_BYTES = 64 * KiB;
/** Nothing was answered for so long in virtual ms: a stop, where there should be slowness at most. */
const SILENCE_MS_MAX = 200;
const RUN_MS = 400;

/** Writes long values to few keys, so that the log sees many times the bytes of the state. */
class LongValues implements CommandSource {
  readonly #value = "v".repeat(VALUE_BYTES);

  next(prng: Prng): SimCommand {
    const key = `key${prng.below(KEYS)}`;
    return {
      op: null,
      args: [],
      read: false,
      encode: (writer: ByteWriter) => {
        const at = beginCommand(writer, KvOperation.set, 0, 2);
        writeArgumentLatin1(writer, key);
        writeArgumentLatin1(writer, this.#value);
        endCommand(writer, at);
      },
      decode: () => 0,
    };
  }

  onUnknown(): void {}

  finalReads(): SimCommand[] {
    return [];
  }
}

function scenario(seed: number, options: Scenario["options"]): Scenario {
  const drawn = drawScenario({ seed, service: "kv", durability: "fsync", replicas: 3, faults: [] });
  return {
    ...drawn,
    safetyMs: Infinity,
    options: {
      seed,
      windowBytesMax: 16 * KiB,
      batchBytesMax: 4 * KiB,
      ingressBytesMax: 64 * KiB,
      checkpointBytes: 32 * KiB,
      logBytesMax: LOG_BYTES,
      // Longer than a batch, and not by much: the rest of each piece of memory is lost.
      arenaChunkBytes: 6 * KiB,
      checkpointSliceBytes: 2 * KiB,
      ...options,
    },
    knobs: { ...drawn.knobs, executeLagMax: 4096, logInstancesMax: 1_000_000, catchUpBytes: 64 * KiB },
    segmentBytes: 256 * KiB,
    workload: { ...drawn.workload, clients: 4, lanes: 4, thinkMs: 4, blockCommandsMax: 3, reads: 0, connections: 0 },
  };
}

/** Runs until the time is over; what was answered, the longest silence, and the most that a log held. */
function run(world: SimWorld): { answered: number; silenceMs: number; logBytes: number } {
  world.start();
  let answered = 0;
  let silentSince = Infinity;
  let silenceMs = 0;
  let logBytes = 0;
  while (world.kernel.now < RUN_MS) {
    world.run(world.kernel.now + 20);
    const now = world.clients.reduce((sum, client) => sum + client.completed, 0);
    // The time until the first answer is that of the first election.
    if (now > answered) silentSince = world.kernel.now;
    else silenceMs = Math.max(silenceMs, world.kernel.now - silentSince);
    answered = now;
    for (const { replica } of world.replicas) logBytes = Math.max(logBytes, replica?.status().logBytes ?? 0);
  }
  return { answered, silenceMs, logBytes };
}

describe("a state larger than the log's memory", () => {
  for (const seed of [1, 2]) {
    test(`goes on, within a log that does not grow with it: seed ${seed}`, () => {
      const world = new SimWorld(scenario(seed, { largeLogBytesMax: 0 }), {}, new LongValues());
      const { answered, silenceMs, logBytes } = run(world);
      const stateBytes = world.replicas[0]?.replica?.status().stateBytes ?? 0;
      assert.ok(silenceMs <= SILENCE_MS_MAX, `nothing was answered for ${silenceMs} ms; ${world.describe()}`);
      assert.ok(stateBytes > 4 * LOG_BYTES, `the state has ${stateBytes} bytes only; ${answered} commands`);
      // A log that is full to its bound may take what closes a gap on top.
      assert.ok(logBytes <= 2 * LOG_BYTES, `a log held ${logBytes} bytes`);
    });
  }

  test("may have a log as large as itself, and is then written less often", () => {
    const written = [0, 1024 * KiB].map((largeLogBytesMax) => {
      const world = new SimWorld(scenario(4, { largeLogBytesMax }), {}, new LongValues());
      const { answered, silenceMs } = run(world);
      assert.ok(silenceMs <= SILENCE_MS_MAX, `nothing was answered for ${silenceMs} ms`);
      const checkpoints = world.traced.get(TraceCode.checkpointed) ?? 0;
      return { answered, checkpoints };
    });
    const [small, large] = written.map(({ answered, checkpoints }) => checkpoints / answered);
    assert.ok((large as number) < 0.6 * (small as number), JSON.stringify(written));
  });
});
