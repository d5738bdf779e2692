/** Fixed seeds of the simulator, the second half. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { run } from "./seeds.js";

test("seeds 101 to 200 pass", async () => {
  assert.equal((await run(101, 200, {})).length, 100);
});
