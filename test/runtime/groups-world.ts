/** The surroundings of clients of groups in virtual time: ports to the members, and a scripted cluster of several streams. */
import assert from "node:assert/strict";
import { ByteWriter } from "#src/base/index.js";
import { FrameKind, type GroupMapping } from "#src/model/index.js";
import { type EventLog, SimKernel, type SimProcess } from "#src/platform/index.js";
import { StreamChoice } from "#src/runtime/index.js";
import { beginCommand, endCommand, KvOperation, writeArgumentLatin1 } from "#src/service/index.js";
import type { FakeCluster, FakeOptimism } from "../client/fake-cluster.js";
import { FakePort, kvStreams, replicas } from "./client-world.js";

/** How long it takes until a command that failed comes through g_all. */
export const AGAIN_MS = 3;

const events: EventLog = { info: () => {}, warn: () => {}, error: () => {} };

/** Appends one command of the kv service. */
function write(writer: ByteWriter, operation: number, ...args: readonly string[]): void {
  const at = beginCommand(writer, operation, 0, args.length);
  for (const arg of args) writeArgumentLatin1(writer, arg);
  endCommand(writer, at);
}

/** One command of the kv service. */
export function commandOf(operation: number, ...args: readonly string[]): Uint8Array {
  const writer = new ByteWriter();
  write(writer, operation, ...args);
  return writer.toBytes();
}

export class GroupsWorld {
  readonly kernel: SimKernel;
  readonly process: SimProcess;
  readonly groups: number;
  readonly clusters: FakeCluster[];
  readonly choice: StreamChoice;
  readonly mapping: GroupMapping;
  readonly ports: FakePort[] = [];
  readonly executed: Uint8Array[] = [];
  /** Of the commands of groups so many, one after the other, are executed; the next fails its safety check. None by default. */
  passing = Infinity;
  #keys = 0;
  #failing = 0;
  #clients = 0;

  constructor(groups = 2, seed = 1, resubmit: "replicas" | "client" | null = null) {
    this.groups = groups;
    this.kernel = new SimKernel(seed);
    this.process = this.kernel.spawn("client");
    const { clusters, mapping } = kvStreams(
      groups,
      (command) => this.executed.push(command),
      resubmit === null ? null : this.#optimism(resubmit),
    );
    this.clusters = clusters;
    this.mapping = mapping;
    this.choice = new StreamChoice(mapping);
  }

  #optimism(resubmit: "replicas" | "client"): FakeOptimism {
    return {
      resubmit,
      // Of keys no two are compared: each has a number.
      keyOf: () => this.#keys++,
      fails: () => {
        if (++this.#failing <= this.passing) return false;
        this.#failing = 0;
        return true;
      },
      again: (block) => {
        this.kernel.after(AGAIN_MS, () => {
          if (this.clusters[0]?.leader !== 0) this.clusters[0]?.executeConservative(block);
        });
      },
      reply: (stream, body) => {
        // Every client of the stream hears of it, and all but one leave it.
        const cluster = this.clusters[stream] as FakeCluster;
        for (const port of this.ports) {
          if (port.cluster === cluster && cluster.leader !== 0)
            port.deliver(cluster.leader, { kind: FrameKind.reply, body });
        }
      },
    };
  }

  /** A port to each member, its links up. */
  members(): FakePort[] {
    const ports = this.clusters.map((cluster) => new FakePort(this.kernel, cluster));
    this.ports.push(...ports);
    return ports;
  }

  init(ports: readonly FakePort[] = this.members()) {
    const nonce = new Uint8Array(16).fill(++this.#clients);
    return { scheduler: this.process, ports, replicas, nonce, events };
  }

  linkAll(): void {
    for (const port of this.ports) port.linkAll();
  }

  /** The group's stream of this key. */
  streamOf(key: string): number {
    const bytes = commandOf(KvOperation.get, key);
    this.choice.look(1, bytes, new DataView(bytes.buffer), 0);
    return this.choice.ofAll(0);
  }

  /** A key of this stream's group; different ones for different numbers. */
  key(stream: number, number = 0): string {
    for (let i = 0; i < 1000; i++) {
      const key = `key-${number}-${i}`;
      if (this.streamOf(key) === stream) return key;
    }
    return assert.fail(`no key of stream ${stream}`);
  }

  run(ms: number): void {
    const end = this.kernel.now + ms;
    this.kernel.at(end, () => {});
    this.kernel.run(end);
  }

  async until<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    const end = this.kernel.now + limitMs;
    while (!settled && this.kernel.now < end) {
      await new Promise((resolve) => setImmediate(resolve));
      this.kernel.run(end, () => true);
    }
    assert.ok(settled, `still pending after ${limitMs} virtual ms`);
    return promise;
  }

  /** What holds whatever happened. */
  check(): void {
    for (const { malformed, astray, altered } of this.clusters) {
      assert.deepEqual([malformed, astray, altered], [0, 0, []]);
    }
  }
}
