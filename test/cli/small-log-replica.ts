/**
 * A replica's process whose log may be small: `node small-log-replica.js DIRECTORY ID [BYTES]`. It writes a line when it takes part,
 * and at SIGTERM one more, how it stands, before it stops.
 */
import { KiB, MiB } from "#src/base/index.js";
import { startReplicaThread } from "#src/cli/replica-thread.js";
import type { FromReplicaThread, ReplicaOptions, ReplicaReading } from "#src/runtime/index.js";

export const SMALL_LOG_BYTES = 1 * MiB;

/** As the real ones, in small: a store of 5 MiB then is what one of 1 GiB is otherwise. */
function optionsFor(logBytesMax: number): Partial<ReplicaOptions> {
  return {
    logBytesMax,
    largeLogBytesMax: 0,
    // Nothing is in memory but what is under way, and what stands in the same pieces.
    logMemoryBytesMax: 0,
    checkpointBytes: logBytesMax / 2,
    windowBytesMax: SMALL_LOG_BYTES / 4,
    batchBytesMax: 64 * KiB,
    // One batch of several blocks, and most of another's room.
    arenaChunkBytes: 96 * KiB,
  };
}

/** What the process says: null when it takes part, then how it stood when it was stopped. */
export type SmallLogReplicaLine = ReplicaReading | null;

function run(directory: string, self: number, logBytes: number): void {
  const say = (line: SmallLogReplicaLine): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
  const onMessage = (message: FromReplicaThread): void => {
    if (message.kind === "recovered") say(null);
    else if (message.kind === "failed") throw new Error(message.message);
    else if (message.kind === "stopped") process.exit(0);
    else if (message.kind === "reading") {
      say(message.reading);
      thread.stop();
    }
  };
  const data = { self, directory, checked: true, insecureNetwork: false, options: optionsFor(logBytes) };
  const thread = startReplicaThread(data, { onMessage, onExit: () => process.exit(1) });
  process.on("SIGTERM", () => thread.read(1));
}

const [directory, id, bytes = String(SMALL_LOG_BYTES)] = process.argv.slice(2);
if (directory !== undefined && id !== undefined) run(directory, Number(id), Number(bytes));
