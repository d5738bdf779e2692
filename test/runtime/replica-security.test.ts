/** Certificates and passwords of a replica that runs for long: what its log says of them, and when. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import type { ClusterConfig, SecurityConfig } from "#src/model/index.js";
import type { Scheduler } from "#src/platform/index.js";
import { ReplicaSecurity } from "#src/runtime/node/security.js";
import { Authority, noOpenssl } from "../platform/certificates.js";
import { Lines } from "../platform/frame-port.suite.js";

const DAY_MS = 24 * 3600 * 1000;
const clusterId = "0123456789abcdef";
const secret = "0f".repeat(32);

/** A scheduler with one timer, whose clocks stand still but in `pass`. */
class Days implements Scheduler {
  #nowMs = 0;
  readonly #startMs = Date.now();
  #fire: () => void = () => undefined;
  #atMs = Infinity;
  readonly clock = { monotonicMs: () => this.#nowMs, wallMs: () => this.#startMs + this.#nowMs };

  timer(fire: () => void): ReturnType<Scheduler["timer"]> {
    this.#fire = fire;
    return { set: (atMs) => void (this.#atMs = atMs), clear: () => void (this.#atMs = Infinity) };
  }

  turn(): never {
    assert.fail("nothing here has turns");
  }

  /** The timer fires once, at the end of the time that passes. */
  pass(ms: number): void {
    this.#nowMs += ms;
    assert.ok(this.#atMs <= this.#nowMs, "the timer is set");
    this.#fire();
  }
}

function configOf(security: SecurityConfig): ClusterConfig {
  const replicas = [{ id: 1, peer: "127.0.0.1:1", client: "127.0.0.1:2", resp: null }];
  const names = { service: "kv", ordering: "multi-paxos", execution: "pipelined", reads: "quorum" } as const;
  return { format: 1, clusterId, ...names, groups: 1, durability: "fsync", replicas, security };
}

interface Opened {
  readonly lines: Lines;
  readonly scheduler: Days;
  readonly security: ReplicaSecurity;
}

function opened(t: TestContext, directory: string, security: SecurityConfig): Opened {
  const [lines, scheduler] = [new Lines(), new Days()];
  const made = new ReplicaSecurity({ directory, config: configOf(security), self: 1, scheduler, events: lines });
  t.after(() => made.close());
  return { lines, scheduler, security: made };
}

describe("the security of a replica that runs on", () => {
  test("warns every day of certificates and authorities that end within 30 days", { skip: noOpenssl }, (t) => {
    const directory = mkdtempSync(join(tmpdir(), "synod-security-"));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const authority = new Authority();
    t.after(() => authority.remove());
    // The authority is good for 30 days from a moment ago.
    const { cert, key } = authority.issue([`URI:synod://${clusterId}/replica/1`], 40);
    for (const [name, text] of Object.entries({ cert, key, ca: authority.cert })) {
      writeFileSync(join(directory, name), text);
    }
    const { lines, scheduler } = opened(t, directory, { peers: { cert: "cert", key: "key", ca: "ca" } });
    const warned = (): unknown[] => lines.of("certificate-expires").map(({ path }) => path);
    const [certificate, ca] = [join(directory, "cert"), join(directory, "ca")];
    assert.deepEqual(warned(), [ca]);
    scheduler.pass(DAY_MS - 1);
    assert.deepEqual(warned(), [ca], "not before the day is over");
    scheduler.pass(10_000);
    assert.deepEqual(warned(), [ca, ca]);
    scheduler.pass(10 * DAY_MS);
    assert.deepEqual(warned(), [ca, ca, certificate, ca]);
  });

  test("says what is changed in cluster.json and takes effect at a start only", (t) => {
    const reasons = (had: SecurityConfig, has: SecurityConfig): unknown[] => {
      const { lines, security } = opened(t, tmpdir(), had);
      security.reload(has);
      return lines.of("security-not-reloaded").map(({ reason }) => reason);
    };
    const atStart = (field: string): string[] => [`${field} takes effect at the next start`];
    const passwords = { default: "plain:a" };
    assert.deepEqual(reasons({ passwords, secret }, { secret, passwords: { default: "plain:b" } }), []);
    assert.deepEqual(reasons({}, { passwords, secret }), atStart("security.secret"));
    assert.deepEqual(reasons({ secret }, { passwords, secret }), atStart("security.passwords"));
    const files = { cert: "a", key: "b", ca: "c" };
    assert.deepEqual(reasons({}, { peers: files }), atStart("security.peers"));
    assert.deepEqual(reasons({}, { clients: files }), atStart("security.clients"));
  });
});
