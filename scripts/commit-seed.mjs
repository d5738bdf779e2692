// The seed of everything random in the tests: a number that follows from the commit, so that each commit tries something else
// and always the same. SYNOD_TEST_SEED names another; without git it is a constant.

import { execFileSync } from "node:child_process";

export const variable = "SYNOD_TEST_SEED";
const withoutGit = 20_261_121;

/** A whole number in [0, 2^31) and where it is from. Throws for a SYNOD_TEST_SEED that is no such number. */
export function commitSeed(root) {
  const given = process.env[variable];
  if (given !== undefined && given !== "") {
    const seed = Number(given);
    if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 31) {
      throw new Error(`${variable} is a whole number from 0 to ${2 ** 31 - 1}, got "${given}"`);
    }
    return { seed, origin: variable };
  }
  try {
    const options = { cwd: root, encoding: "utf8", timeout: 2000, stdio: ["ignore", "pipe", "ignore"] };
    const commit = execFileSync("git", ["rev-parse", "--verify", "HEAD"], options).trim();
    return { seed: Number.parseInt(commit.slice(0, 8), 16) & 0x7fffffff, origin: `commit ${commit.slice(0, 12)}` };
  } catch {
    return { seed: withoutGit, origin: "no git" };
  }
}
