/**
 * `npm run fuzz -- NAME|all [--runs N] [--seed S] [--from K]`: gives decoders inputs made of valid ones. Without a name it
 * lists them. Exit 5 for a finding; what is printed then replays it.
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { FuzzFinding, runFuzz } from "./run-fuzz.js";
import { type FuzzTarget, RESET_RUNS } from "./target.js";
import { fuzzTargets } from "./targets/index.js";

const MEMORY_BYTES_MAX = 256 * 1024 * 1024;
const USAGE = 4;
const FOUND = 5;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "1000000" },
    seed: { type: "string" },
    from: { type: "string", default: "0" },
  },
});

function whole(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    console.error(`fuzz: --${name} is a whole number, got ${text}`);
    process.exit(USAGE);
  }
  return value;
}

const runs = whole("runs", values.runs);
const from = whole("from", values.from);
const seed = values.seed === undefined ? randomInt(2 ** 32) : whole("seed", values.seed);
if (positionals.length === 0) {
  for (const { name, what } of fuzzTargets) console.log(`${name.padEnd(18)} ${what}`);
  process.exit(0);
}
const unknown = positionals.filter((name) => name !== "all" && fuzzTargets.every((target) => target.name !== name));
if (unknown.length > 0 || from % RESET_RUNS !== 0) {
  console.error(
    unknown.length > 0
      ? `fuzz: there is no decoder ${unknown.join(", ")}; there is ${fuzzTargets.map(({ name }) => name).join(", ")}`
      : `fuzz: --from is a multiple of ${RESET_RUNS}`,
  );
  process.exit(USAGE);
}

/** The finding once more, with the stack of the error behind it; as it was if it does not come again. */
async function again(target: FuzzTarget, finding: FuzzFinding): Promise<FuzzFinding> {
  Error.stackTraceLimit = 50;
  const { from: first, runs: count } = finding;
  try {
    await runFuzz({ target, runs: count, seed, from: first, memoryBytesMax: MEMORY_BYTES_MAX });
    return finding;
  } catch (error) {
    return error instanceof FuzzFinding ? error : finding;
  }
}

// Most inputs end in an error, and most of the time that takes goes into its stack.
Error.stackTraceLimit = 0;

for (const target of fuzzTargets) {
  if (!positionals.includes("all") && !positionals.includes(target.name)) continue;
  const before = process.cpuUsage();
  const onProgress = process.stderr.isTTY
    ? (done: number): void => void (done % 65_536 === 0 && process.stderr.write(`\r${target.name} ${done}  `))
    : undefined;
  try {
    const result = await runFuzz({
      target,
      runs,
      seed,
      from,
      memoryBytesMax: MEMORY_BYTES_MAX,
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    const { user, system } = process.cpuUsage(before);
    const share = ((100 * result.accepted) / Math.max(1, result.runs)).toFixed(1);
    const memory = Math.round(result.memoryBytes / 1048576);
    const seconds = ((user + system) / 1e6).toFixed(1);
    const facts = [`${result.runs} inputs`, `seed ${seed}`, `${share} % taken`, `${memory} MiB`, `${seconds} s of CPU`];
    console.log(`${target.name.padEnd(18)} ${facts.join(", ")}`);
  } catch (error) {
    if (!(error instanceof FuzzFinding)) throw error;
    console.error((await again(target, error)).message);
    process.exit(FOUND);
  }
}
