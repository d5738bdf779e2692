/**
 * Three replicas on three machines, as near as one machine comes to that: network namespaces with addresses of their own,
 * joined by a bridge. Needs root and the program `ip`; skipped by name elsewhere.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { connect } from "#src/runtime/index.js";
import { noOpenssl } from "../platform/certificates.js";
import { finished, synod, type SynodProcess, temporaryDirectory } from "./synod-process.js";

const REPLICAS = [1, 2, 3];
/** Different for each process, so that two runs of this test do not meet. */
const tag = process.pid % 250;
const bridge = `syn-b${tag}`;
const hostOf = (id: number): string => `10.213.${tag}.${id}`;
const spaceOf = (id: number): string => `syn-${tag}-${id}`;
const cableOf = (id: number): string => `syn-v${tag}-${id}`;

const ip = (...args: readonly string[]): void => void execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });

function cannot(): string | false {
  if (noOpenssl !== false) return noOpenssl;
  const probe = `syn-probe-${tag}`;
  if (spawnSync("ip", ["netns", "add", probe]).status !== 0) return "network namespaces can't be made here";
  spawnSync("ip", ["netns", "delete", probe]);
  return false;
}

function wire(context: TestContext): void {
  context.after(() => {
    for (const id of REPLICAS) spawnSync("ip", ["netns", "delete", spaceOf(id)]);
    spawnSync("ip", ["link", "delete", bridge]);
  });
  ip("link", "add", bridge, "type", "bridge");
  ip("address", "add", `${hostOf(254)}/24`, "dev", bridge);
  ip("link", "set", bridge, "up");
  for (const id of REPLICAS) {
    ip("netns", "add", spaceOf(id));
    ip("link", "add", cableOf(id), "type", "veth", "peer", "name", "eth0", "netns", spaceOf(id));
    ip("link", "set", cableOf(id), "master", bridge, "up");
    ip("-n", spaceOf(id), "link", "set", "lo", "up");
    ip("-n", spaceOf(id), "address", "add", `${hostOf(id)}/24`, "dev", "eth0");
    ip("-n", spaceOf(id), "link", "set", "eth0", "up");
  }
}

test("three machines: made, protected, one cut off and back", { skip: cannot() }, async (context) => {
  const directory = temporaryDirectory(context);
  wire(context);
  const file = join(directory, "cluster.json");
  const succeed = async (...args: readonly string[]): Promise<void> => {
    const { code, stderr } = await finished(context, args, { SYNOD_PASSWORD: "right" });
    assert.equal(code, 0, stderr);
  };
  await succeed("config", "new", "--cluster", file, ...REPLICAS.flatMap((id) => ["--host", hostOf(id)]));
  await succeed("certificates", "--cluster", file);
  const data = (id: number): string => join(directory, `data-${id}`);
  for (const id of REPLICAS) await succeed("init", String(id), "--cluster", file, "--data", data(id));
  const replicas = REPLICAS.map((id): SynodProcess => {
    return synod(context, ["replica", String(id), "--data", data(id), "--json"], {}, [
      "ip",
      "netns",
      "exec",
      spaceOf(id),
    ]);
  });
  for (const replica of replicas) await replica.ready();

  const ca = readFileSync(join(directory, "tls", "ca.crt"), "utf8");
  const addresses = REPLICAS.map((id) => `${hostOf(id)}:8379`);
  const client = await connect({
    addresses: addresses.slice(0, 1),
    tls: { ca },
    password: "right",
    deadlineMs: 20_000,
  });
  assert.equal(await client.set("a", "1"), true);

  for (const id of REPLICAS) {
    ip("link", "set", cableOf(id), "down");
    for (let i = 0; i < 5; i++) assert.equal(await client.set(`${id}`, `${i}`), true, `replica ${id} is cut off`);
    ip("link", "set", cableOf(id), "up");
    assert.equal(await client.get(`${id}`), "4");
  }
  await client.close();
  for (const replica of replicas) assert.equal(replica.ended, false, replica.stderr);
});
