import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gone, synod, temporaryDirectory } from "./synod-process.js";

const mountable = process.platform === "linux" && process.getuid?.() === 0;

test(
  "DESIGN section 2: a replica whose disk is full stops with exit code 10; the others go on and lose nothing",
  { skip: mountable ? false : "mounting a small file system needs root on Linux" },
  async (t) => {
    // Hooks run in the order they were registered: what is mounted goes before the directory it is in.
    let mountedAt: string | null = null;
    t.after(() => mountedAt !== null && spawnSync("umount", ["-l", mountedAt]));
    const parent = temporaryDirectory(t);
    const directory = join(parent, "data");
    const up = synod(t, ["up", "--data", directory, "--port", "0", "--json"]);
    const replicas = await up.ready();
    const [victim, other] = [replicas[1], replicas[0]];
    assert(victim !== undefined && other !== undefined);
    process.kill(victim.pid, "SIGKILL");
    await gone(victim.pid);

    const home = join(directory, "replica-2");
    renameSync(home, join(parent, "saved"));
    mkdirSync(home);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=12m", "tmpfs", home]);
    if (mounted.status !== 0) return t.skip("this machine does not let a file system be mounted");
    mountedAt = home;
    cpSync(join(parent, "saved"), home, { recursive: true });

    const replica = synod(t, ["replica", "2", "--data", directory, "--json"]);
    await replica.ready();
    const load = synod(t, [
      "bench",
      "--data",
      directory,
      "--json",
      ...Object.entries({
        workload: "put",
        "value-size": 256,
        clients: 4,
        window: 256,
        keys: 20000,
        seconds: 4,
      }).flatMap(([flag, value]) => [`--${flag}`, String(value)]),
    ]);
    assert.equal(await replica.exit(), 10);
    assert.match(replica.stderr, /ENOSPC|no space/i);
    await load.exit();
    const figures = load.lines.find((line) => "throughput" in line);
    assert.equal(figures?.["errors"], 0, load.stderr);
  },
);
