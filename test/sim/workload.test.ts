/** What clients of simulated worlds ask. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { drawScenario } from "#src/sim/index.js";
import { KvCommands } from "#src/sim/workload/kv-commands.js";
import type { SimCommand } from "#src/sim/workload/command.js";

describe("commands of the kv service", () => {
  test("what was asked stays as it was asked when a key gets another name before the answer", () => {
    const { workload } = drawScenario({ seed: 1 });
    const source = new KvCommands({ ...workload, keys: 4, clients: 3, lanes: 1, blockCommandsMax: 1, reads: 0.9 });
    const prng = new Prng(1);
    const asked = Array.from({ length: 400 }, () => source.next(prng, "c"));
    const texts = asked.map(({ args }) => JSON.stringify(args));
    assert.ok(asked.filter(({ op }) => op === "mget").length > 5, "reads of several keys are among them");
    for (let i = 0; i < 6; i++) source.onUnknown({ read: false, args: ["t1"] } as unknown as SimCommand);
    assert.equal(source.next(prng, "c").args.includes("t1"), false);
    for (const [index, { args }] of asked.entries()) assert.equal(JSON.stringify(args), texts[index]);
  });
});
