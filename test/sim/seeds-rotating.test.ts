/**
 * Seeds that rotate: each commit runs others, always the same ones, beside the 200 fixed ones. Without git, or
 * outside of the test runner, they are fixed too.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { run } from "./seeds.js";

const SEEDS = 50;
/** The fixed seeds are below. */
const FIRST_MIN = 1000;
const RANGES = 1_000_000;

const first = FIRST_MIN + SEEDS * (Number(process.env["SYNOD_TEST_SEED"] ?? 0) % RANGES);
const last = first + SEEDS - 1;

test(`seeds ${first} to ${last}, those of this commit, pass`, async (context) => {
  context.diagnostic(`bin/synod sim --seeds ${first}..${last}`);
  assert.equal((await run(first, last, {})).length, SEEDS);
});
