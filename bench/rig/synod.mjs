// Our own program under a benchmark: the one that stands in this checkout, used as anyone would use it.
import { join } from "node:path";
import { removeDirectory, root, run, scratchDirectory, start, stop } from "./process.mjs";

const program = join(root, "bin", "synod");

/** Flags as an object, `{ clients: 8 }`, to a list of arguments. */
function toArguments(flags) {
  return Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** One run of `synod bench`; resolves with what it prints. Rejects if a command failed or the states differ. */
export async function synodBench(flags) {
  const [line] = await run(process.execPath, [program, "bench", ...toArguments(flags), "--json"]);
  return JSON.parse(line);
}

/** `synod up` on free ports and a directory of its own; resolves when it is ready. */
export async function synodUp(flags = {}) {
  const data = scratchDirectory();
  let ready;
  const listening = new Promise((resolve) => (ready = resolve));
  const up = start(
    process.execPath,
    [program, "up", "--data", join(data, "cluster"), "--port", "0", ...toArguments(flags), "--json"],
    (line) => {
      const event = JSON.parse(line);
      if (event.event === "ready") ready(event);
    },
  );
  const first = await Promise.race([listening, up.ended]);
  if (typeof first !== "object") throw new Error(`synod up ended with ${first}: ${up.complaint()}`);
  const directory = join(data, "cluster");
  return {
    data: directory,
    replicas: first.replicas,
    async leader() {
      const [line] = await run(process.execPath, [program, "status", "--data", directory, "--json"]);
      const leading = JSON.parse(line).replicas.find((replica) => replica.role === "leader");
      return first.replicas.find((replica) => replica.id === leading?.id) ?? first.replicas[0];
    },
    async stop() {
      await stop(up);
      removeDirectory(data);
    },
  };
}
