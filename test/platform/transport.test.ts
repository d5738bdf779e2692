/** The FramePort suite over every transport. */
import assert from "node:assert/strict";
import { type FramePort, TcpListener, type ListenDone } from "#src/platform/index.js";
import {
  CombinedFramePort,
  createMemoryLink,
  SimKernel,
  SimNetwork,
  SystemScheduler,
  TcpDialler,
  TcpPeers,
} from "#src/platform/index.js";
import { framePortSuite, Lines, untilRecorded, type FramePortPair, type Recorder } from "./frame-port.suite.js";

const clusterId = "0123456789abcdef";
const scheduler = new SystemScheduler();

function bound(port: { listen(done: ListenDone): void }): Promise<string> {
  return new Promise((resolve, reject) =>
    port.listen((error, address) => (error === null ? resolve(address) : reject(error))),
  );
}

framePortSuite({
  name: "TCP, client and listener",
  async open(inFlightBytesMax): Promise<FramePortPair> {
    const components = { scheduler, events: new Lines() };
    const b = new TcpListener({
      ...components,
      self: 1,
      clusterId,
      listen: { host: "127.0.0.1", port: 0 },
      options: { inFlightBytesMax },
    });
    const addresses = [await bound(b)];
    const a = new TcpDialler({ ...components, clusterId, addresses, seed: 1, options: { inFlightBytesMax } });
    return { a, b, until: untilRecorded };
  },
});

framePortSuite({
  name: "TCP, replica and replica",
  async open(inFlightBytesMax): Promise<FramePortPair> {
    const shared = { scheduler, events: new Lines(), clusterId, clusterChecksum: 7, options: { inFlightBytesMax } };
    const peers = new Map<number, string>();
    const make = (self: number): TcpPeers =>
      new TcpPeers({ ...shared, self, incarnation: self, listen: "127.0.0.1:0", peers, seed: self });
    const [b, a] = [make(1), make(2)];
    peers.set(1, await bound(b)).set(2, await bound(a));
    return { a, b, until: untilRecorded };
  },
});

const memory = (combined: boolean) => ({
  name: combined ? "memory, behind a combined port" : "memory",
  open(inFlightBytesMax: number): Promise<FramePortPair> {
    const { dialler, listener } = createMemoryLink(scheduler, { diallerLink: 3, inFlightBytesMax });
    const a: FramePort = combined ? new CombinedFramePort([{ link: 5, port: dialler, portLink: 3 }]) : dialler;
    return Promise.resolve({ a, b: listener, until: untilRecorded });
  },
});
framePortSuite(memory(false));
framePortSuite(memory(true));

const simulated = (name: string, make: (network: SimNetwork, kernel: SimKernel) => { a: FramePort; b: FramePort }) => ({
  name: `simulated, ${name}`,
  open(inFlightBytesMax: number): Promise<FramePortPair> {
    const kernel = new SimKernel(1);
    const network = new SimNetwork(kernel, { inFlightBytesMax });
    const until = (condition: () => boolean, _recorders: readonly Recorder[]): Promise<void> => {
      if (!condition()) kernel.run(kernel.now + 60_000, condition);
      assert.ok(condition(), "the simulated world ran dry, or for a minute, without the condition");
      return Promise.resolve();
    };
    return Promise.resolve({ ...make(network, kernel), until });
  },
});
framePortSuite(
  simulated("client and listener", (network, kernel) => ({
    a: network.dialler(kernel.spawn("c1"), "c1", [1]),
    b: network.listener(kernel.spawn("r1"), 1),
  })),
);
framePortSuite(
  simulated("replica and replica", (network, kernel) => ({
    a: network.peers(kernel.spawn("r2"), 2),
    b: network.peers(kernel.spawn("r1"), 1),
  })),
);
