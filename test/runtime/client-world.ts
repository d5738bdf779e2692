/** A block client's surroundings in virtual time: a port whose links are replica ids, and the scripted cluster behind it. */
import { ByteWriter } from "#src/base/index.js";
import {
  BLOCK_HEADER_BYTES,
  blockCommands,
  emptyRun,
  type GroupMapping,
  type ReplicaId,
  runIn,
  type Service,
} from "#src/model/index.js";
import {
  type EventLog,
  type FrameHandlers,
  type FramePort,
  type Scheduler,
  SimKernel,
  type SimProcess,
} from "#src/platform/index.js";
import { createBlockClient, type BlockClient, type BlockClientHandlers } from "#src/runtime/index.js";
import { kv, kvMapping } from "#src/service/index.js";
import { type Execute, FakeCluster, type FakeOptimism, fakeStreams, type Frame } from "../client/fake-cluster.js";

export const replicas = [1, 2, 3] as const;

/** A fake cluster whose service is the real kv service. */
export function kvCluster(leader: ReplicaId = 1): FakeCluster {
  return new FakeCluster(replicas, leader, executor(kv.create()));
}

/**
 * The streams of a fake cluster with groups over one kv service; its groups refuse what concerns others. `executed` hears of
 * every command that is executed.
 */
export function kvStreams(
  groups: number,
  executed: (command: Uint8Array) => void = () => {},
  optimism: FakeOptimism | null = null,
): { readonly clusters: FakeCluster[]; readonly mapping: GroupMapping } {
  const service = kv.create();
  const mapping = kvMapping(groups);
  const run = emptyRun();
  const masks = new Uint32Array(4096);
  const executeOne = executor(service);
  const execute: Execute = (command, readOnly, replies) => {
    executed(command);
    // Each command is a batch of its own as far as the service's bound on the work of one goes.
    service.advance(0, null);
    executeOne(command, readOnly, replies);
  };
  const admits = (stream: number, block: Uint8Array): boolean => {
    run.bytes = block.slice();
    run.view = new DataView(run.bytes.buffer);
    run.count = blockCommands(run.view, 0);
    if (run.offsets.length < run.count) run.offsets = new Uint32Array(run.count);
    for (let i = 0, at = BLOCK_HEADER_BYTES; i < run.count; i++) {
      run.offsets[i] = at;
      at += run.view.getUint32(at, true);
    }
    mapping.masks(run, masks);
    return runIn(stream - 1, masks, run.count);
  };
  return { clusters: fakeStreams(replicas, groups, () => execute, admits, optimism), mapping };
}

function executor(service: Service): Execute {
  const run = emptyRun();
  return (command, readOnly, replies) => {
    run.bytes = command.slice();
    run.view = new DataView(run.bytes.buffer);
    run.offsets[0] = 0;
    run.count = 1;
    run.readOnly = readOnly;
    service.execute(run, replies, null);
  };
}

/** Links to a fake cluster, 1 ms each way, frames in order. */
export class FakePort implements FramePort {
  readonly #kernel: SimKernel;
  readonly cluster: FakeCluster;
  readonly #writer = new ByteWriter();
  readonly #out: { link: number; kind: number; body: Uint8Array }[] = [];
  #handlers: FrameHandlers | null = null;
  #open: { link: number; kind: number } | null = null;
  readonly up = new Set<number>();
  /** Frames that a link takes until `drain`. */
  framesMax = Infinity;
  #framesHeld = 0;
  flushes = 0;
  /** How long frames take, each way. */
  delayMs = 1;
  framesLost = 0;
  closed = false;

  constructor(kernel: SimKernel, cluster: FakeCluster) {
    this.#kernel = kernel;
    this.cluster = cluster;
  }

  start(handlers: FrameHandlers): void {
    this.#handlers = handlers;
  }

  link(link: number, up: boolean): void {
    if (up) this.up.add(link);
    else this.up.delete(link);
    this.#handlers?.onLink(link, up);
    if (up) this.deliver(link, this.cluster.welcome(link));
  }

  linkAll(): void {
    for (const replica of replicas) this.link(replica, true);
  }

  begin(link: number, kind: number): ByteWriter | null {
    if (!this.up.has(link) || this.#framesHeld >= this.framesMax) {
      this.framesLost++;
      return null;
    }
    this.#framesHeld++;
    this.#open = { link, kind };
    this.#writer.clear();
    return this.#writer;
  }

  end(): void {
    if (this.#open === null) throw new Error("end without begin");
    this.#out.push({ ...this.#open, body: this.#writer.toBytes() });
    this.#open = null;
  }

  flush(): void {
    if (this.#out.length > 0) this.flushes++;
    for (const { link, kind, body } of this.#out.splice(0)) {
      this.#kernel.after(this.delayMs, () => {
        if (!this.up.has(link)) return;
        for (const frame of this.cluster.receive(link, kind, body)) this.deliver(link, frame);
      });
    }
  }

  deliver(link: number, frame: Frame): void {
    this.#kernel.after(this.delayMs, () => {
      if (!this.up.has(link) || this.closed) return;
      // Inside a larger buffer, as frames of a socket's chunk are.
      const bytes = new Uint8Array(frame.body.length + 24);
      bytes.set(frame.body, 16);
      const view = new DataView(bytes.buffer);
      this.#handlers?.onFrame(link, frame.kind, bytes, view, 16, 16 + frame.body.length);
    });
  }

  drain(link: number): void {
    this.framesMax = Infinity;
    this.#framesHeld = 0;
    this.#handlers?.onDrain(link);
  }

  inFlightBytes(): number {
    return 0;
  }

  pause(): void {}
  resume(): void {}
  disconnect(): void {}

  close(done: () => void): void {
    this.closed = true;
    this.#kernel.after(1, done);
  }
}

export class ClientWorld {
  readonly kernel: SimKernel;
  readonly process: SimProcess;
  readonly cluster: FakeCluster;
  readonly warnings: string[] = [];
  readonly events: EventLog = { info: () => {}, warn: (event) => this.warnings.push(event), error: () => {} };
  readonly ports: FakePort[] = [];

  constructor(seed = 1, cluster = kvCluster()) {
    this.kernel = new SimKernel(seed);
    this.process = this.kernel.spawn("client");
    this.cluster = cluster;
  }

  get scheduler(): Scheduler {
    return this.process;
  }

  /** A block client of its own; its links come up at once unless `link` is false. */
  client(handlers: BlockClientHandlers, link = true): { client: BlockClient; port: FakePort } {
    const port = new FakePort(this.kernel, this.cluster);
    this.ports.push(port);
    const nonce = new Uint8Array(16).fill(this.ports.length);
    const client = createBlockClient({
      scheduler: this.scheduler,
      port,
      replicas,
      nonce,
      handlers,
      events: this.events,
    });
    if (link) port.linkAll();
    return { client, port };
  }

  run(ms: number): void {
    const end = this.kernel.now + ms;
    this.kernel.at(end, () => {});
    this.kernel.run(end);
  }

  /** Runs virtual time until the promise settles, letting promises make progress between events. */
  async until<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    const end = this.kernel.now + limitMs;
    while (!settled && this.kernel.now < end) {
      await new Promise((resolve) => setImmediate(resolve));
      const ran = this.kernel.run(end, () => true);
      if (!ran && !settled) await new Promise((resolve) => setImmediate(resolve));
      if (!ran && !settled) throw new Error("nothing is left to happen and the promise is pending");
    }
    if (!settled) throw new Error(`still pending after ${limitMs} virtual ms`);
    return promise;
  }
}
