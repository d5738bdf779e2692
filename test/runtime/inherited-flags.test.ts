import assert from "node:assert/strict";
import { test } from "node:test";
import { inheritedFlags } from "#src/runtime/index.js";

test("replicas get the flags of Node that say how to run, not those that say what", () => {
  const how = [
    "--cpu-prof",
    "--enable-source-maps",
    "--max-old-space-size=512",
    "--import",
    "tsx",
    "-r",
    "./setup.cjs",
    "--conditions=development",
    "--experimental-strip-types",
    "-C",
    "custom",
  ];
  assert.deepEqual(inheritedFlags(how), how);
  const what = ["-e", "code", "--eval=code", "-p", "1", "--input-type", "module", "--test", "--test-reporter=spec"];
  const more = ["--inspect", "--inspect-brk=0", "--watch", "--env-file=.env", "-i"];
  assert.deepEqual(inheritedFlags([...what, "--no-warnings", ...more]), ["--no-warnings"]);
});
