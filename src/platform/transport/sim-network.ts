/**
 * The simulated network: hosts, directed routes between them with delays and faults, and connections that behave as TCP's
 * do, or worse. Everything random comes from forks of the kernel's generator; every frame travels as the bytes it would be
 * on a real wire, cut into chunks at random places.
 */
import { assert, ByteSlab, ByteWriter, KiB, MiB, type Prng } from "../../base/index.js";
import type { ReplicaId } from "../../model/index.js";
import type { FrameHandlers, FramePort } from "../port.js";
import type { SimKernel, SimProcess } from "../sim-kernel/index.js";
import {
  clusterKey,
  closeFrame,
  FRAME_BYTES_MAX,
  FRAME_KIND_MAX,
  FrameReader,
  openFrame,
  type FrameSink,
} from "./frame.js";
import { HeldPool } from "./held-pool.js";

/** How one direction between two hosts behaves. Probabilities are per send (stream) or per frame (datagram). */
export interface SimLinkSettings {
  /**
   * `stream` is TCP: bytes arrive in order or the connection breaks; loss shows as a delay. `datagram` treats each frame on
   * its own: lost, doubled, overtaken. Protocols must survive both.
   */
  readonly mode: "stream" | "datagram";
  /** Uniformly distributed delay in ms. */
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
  /** A send that is unlucky takes up to `spikeMaxMs` longer. */
  readonly spikeProbability: number;
  readonly spikeMaxMs: number;
  readonly lossProbability: number;
  /** stream: what a loss costs, in ms; each further loss of the same bytes costs twice as much as the one before. */
  readonly retransmitMs: number;
  /** datagram: the frame arrives twice, each copy after a delay of its own. */
  readonly duplicateProbability: number;
  /** stream: when a cut heals, the connection turns out to have been reset rather than to deliver what was held back. */
  readonly resetProbability: number;
  /** Unsent and undelivered bytes of one link, at most; above it `begin` returns null. */
  readonly inFlightBytesMax: number;
}

export const SIM_LINK_DEFAULTS: SimLinkSettings = Object.freeze({
  mode: "stream",
  delayMinMs: 0.05,
  delayMaxMs: 0.5,
  spikeProbability: 0,
  spikeMaxMs: 0,
  lossProbability: 0,
  retransmitMs: 200,
  duplicateProbability: 0,
  resetProbability: 0.5,
  inFlightBytesMax: 32 * MiB,
});

/** The losses that one send meets at most, so that no wait is endless: four cost 15 times `retransmitMs`. */
const LOSSES_OF_A_SEND_MAX = 4;

/** Writers kept for reuse, and how long one may have become. */
const SPARE_WRITERS_MAX = 64;
const SPARE_WRITER_BYTES_MAX = 256 * KiB;

/** Wait before a broken connection is attempted again. */
const RECONNECT_MIN_MS = 10;
const RECONNECT_MAX_MS = 1000;

const CLUSTER = clusterKey("53594e4f44303031");

/** One direction between two hosts. */
interface Route {
  settings: SimLinkSettings;
  cut: boolean;
  clogged: boolean;
}

/** What has happened to sends (stream) or frames (datagram) so far. */
export interface SimNetworkCounts {
  delivered: number;
  /** Datagrams that were lost by chance. */
  lost: number;
  /** Losses that a stream has made good for. */
  retransmitted: number;
  /** Sends that were unlucky and took longer. */
  spiked: number;
  doubled: number;
  /** Datagrams that were scheduled to arrive before one that had been sent earlier. */
  overtaken: number;
  /** Sends that met a cut, or a clog. */
  cut: number;
  clogged: number;
  resets: number;
}

/** A pair of ports that want to be connected, as long as both live. */
interface Pairing {
  readonly a: SimFramePort;
  readonly b: SimFramePort;
  readonly aLink: number;
  /** Null: the listener counts. */
  readonly bLink: number | null;
  connection: SimConnection | null;
  failures: number;
  pending: boolean;
}

export class SimNetwork {
  readonly kernel: SimKernel;
  /** @internal */
  readonly pool = new HeldPool();
  /** @internal What is on its way. */
  readonly slab = new ByteSlab();
  readonly #prng: Prng;
  #defaults: SimLinkSettings;
  readonly #routes = new Map<string, Route>();
  readonly #ports = new Set<SimFramePort>();
  readonly #spareWriters: ByteWriter[] = [];
  readonly #pairings = new Set<Pairing>();
  /** Ends that could not be told that their connection is gone, since the way to them is cut. */
  readonly #untold = new Set<SimEnd>();
  readonly counts: SimNetworkCounts = {
    delivered: 0,
    lost: 0,
    retransmitted: 0,
    spiked: 0,
    doubled: 0,
    overtaken: 0,
    cut: 0,
    clogged: 0,
    resets: 0,
  };

  constructor(kernel: SimKernel, defaults: Partial<SimLinkSettings> = {}) {
    this.kernel = kernel;
    this.#prng = kernel.prng.fork("network");
    this.#defaults = Object.freeze({ ...SIM_LINK_DEFAULTS, ...defaults });
  }

  /** The host a replica runs on; its peers and its clients' ports are there. */
  static hostOf(replica: ReplicaId): string {
    return `r${replica}`;
  }

  /** Port of a replica to its peers. Links are replica ids. */
  peers(process: SimProcess, self: ReplicaId): FramePort {
    return this.#add(new SimFramePort(this, process, SimNetwork.hostOf(self), { role: "peers", self }));
  }

  /** Port of a replica on which clients arrive. Links are serials. */
  listener(process: SimProcess, self: ReplicaId): FramePort {
    return this.#add(new SimFramePort(this, process, SimNetwork.hostOf(self), { role: "listener", self }));
  }

  /** Port of a client on `host` to these replicas. Links are replica ids. */
  dialler(process: SimProcess, host: string, targets: readonly ReplicaId[]): FramePort {
    return this.#add(new SimFramePort(this, process, host, { role: "dialler", targets: [...targets] }));
  }

  /** Changes how the direction from one host to another behaves; for connections and sends from now on. */
  setLink(from: string, to: string, settings: Partial<SimLinkSettings>): void {
    const route = this.route(from, to);
    route.settings = Object.freeze({ ...route.settings, ...settings });
  }

  /** Makes all directions behave like this, those between hosts that are yet to come too; for sends from now on. */
  setAll(settings: Partial<SimLinkSettings>): void {
    this.#defaults = Object.freeze({ ...SIM_LINK_DEFAULTS, ...settings });
    for (const route of this.#routes.values()) route.settings = this.#defaults;
  }

  /** Cuts one direction: nothing gets through, and nobody is told. */
  cut(from: string, to: string): void {
    this.route(from, to).cut = true;
  }

  /**
   * Clogs one direction: it takes what is sent, up to its bound, and delivers nothing of it until it is unclogged; then
   * everything arrives, in streams in order. No connection is made over it meanwhile, and none is seen to break.
   */
  clog(from: string, to: string): void {
    this.route(from, to).clogged = true;
  }

  /** Ends a clog. What a cut of the same direction holds back stays where it is. */
  unclog(from: string, to: string): void {
    const route = this.route(from, to);
    if (!route.clogged) return;
    route.clogged = false;
    if (route.cut) return;
    this.#tellUntold(to);
    for (const end of this.#holdingBack(from, to)) end.releaseHeld();
  }

  /** Cuts both directions between hosts of different groups. Hosts in no group are not touched. */
  partition(groups: readonly (readonly string[])[]): void {
    for (const [index, group] of groups.entries()) {
      for (const other of groups.slice(index + 1)) {
        for (const a of group) {
          for (const b of other) {
            this.cut(a, b);
            this.cut(b, a);
          }
        }
      }
    }
  }

  /** Heals one direction; a stream's held-back bytes arrive, or its connection turns out to be reset. */
  healLink(from: string, to: string): void {
    const route = this.route(from, to);
    if (!route.cut) return;
    route.cut = false;
    if (route.clogged) return;
    this.#tellUntold(to);
    for (const end of this.#holdingBack(from, to)) {
      if (this.#prng.chance(route.settings.resetProbability)) this.#reset(end.connection);
      else end.releaseHeld();
    }
  }

  /** Heals everything. */
  heal(): void {
    for (const [name, route] of this.#routes) {
      const [from, to] = name.split(">") as [string, string];
      if (route.cut) this.healLink(from, to);
      if (route.clogged) this.unclog(from, to);
    }
  }

  /** The way to this host is free: ends there hear of connections that are gone. */
  #tellUntold(host: string): void {
    for (const end of this.#untold) {
      if (end.port.host !== host || isBlocked(end.other.out)) continue;
      this.#untold.delete(end);
      end.tellDown();
    }
  }

  #holdingBack(from: string, to: string): SimEnd[] {
    const found: SimEnd[] = [];
    for (const { connection } of this.#pairings) {
      if (connection === null || !connection.open) continue;
      for (const end of connection.ends) {
        if (end.port.host === from && end.other.port.host === to && end.holdsBack) found.push(end);
      }
    }
    return found;
  }

  /** Breaks the connections between two hosts: what is under way is lost, both sides are told, and they connect anew. */
  reset(a: string, b: string): void {
    for (const { connection } of this.#pairings) {
      if (connection === null) continue;
      const [x, y] = connection.ends.map((end) => end.port.host);
      if ((x === a && y === b) || (x === b && y === a)) this.#reset(connection);
    }
  }

  /** A process has crashed: its connections are gone, and the other sides hear of it as the kernel would tell them. */
  detach(process: SimProcess): void {
    for (const port of this.#ports) if (port.process === process) this.remove(port, false);
  }

  /** `process.crash()` and `detach` in one. */
  crash(process: SimProcess): void {
    process.crash();
    this.detach(process);
  }

  /** @internal */
  route(from: string, to: string): Route {
    const name = `${from}>${to}`;
    let route = this.#routes.get(name);
    if (route === undefined) {
      route = { settings: this.#defaults, cut: false, clogged: false };
      this.#routes.set(name, route);
    }
    return route;
  }

  /** @internal A port has started: pairs it with those it should be connected to. */
  started(port: SimFramePort): void {
    for (const other of this.#ports) {
      if (other === port || !other.running) continue;
      const [x, y] = [port.purpose, other.purpose];
      if (x.role === "peers" && y.role === "peers") {
        assert(x.self !== y.self, `replica ${x.self} runs twice; detach the process that crashed`);
        this.#pair(port, other, y.self, x.self);
      } else if (x.role === "dialler" && y.role === "listener" && x.targets.includes(y.self)) {
        this.#pair(port, other, y.self, null);
      } else if (x.role === "listener" && y.role === "dialler" && y.targets.includes(x.self)) {
        this.#pair(other, port, x.self, null);
      }
    }
  }

  /**
   * @internal A port closed, or its process crashed. What it had sent still arrives, as from the buffers of its kernel;
   * after a crash perhaps, since the machine may have died with it.
   */
  remove(port: SimFramePort, closed: boolean): void {
    port.running = false;
    this.#ports.delete(port);
    for (const pairing of this.#pairings) {
      if (pairing.a !== port && pairing.b !== port) continue;
      this.#pairings.delete(pairing);
      const { connection } = pairing;
      if (connection === null) continue;
      if (!connection.open) continue;
      connection.open = false;
      for (const end of connection.ends) {
        if (end.port === port) continue;
        end.drains = closed || this.#prng.chance(0.5);
        this.#tellDown(end);
      }
    }
  }

  /** @internal One side ends a connection: both are told, and the pair connects anew. */
  disconnect(connection: SimConnection): void {
    this.#reset(connection);
  }

  /** @internal */
  delayOf(route: Route): number {
    const { settings } = route;
    let delay = this.#prng.between(settings.delayMinMs, settings.delayMaxMs);
    if (this.#prng.chance(settings.spikeProbability)) {
      this.counts.spiked++;
      delay += this.#prng.between(0, settings.spikeMaxMs);
    }
    return delay;
  }

  /** @internal An empty writer for the frames of a turn; `giveWriter` takes it back. */
  takeWriter(): ByteWriter {
    return this.#spareWriters.pop() ?? new ByteWriter(1024, FRAME_BYTES_MAX + 64 * MiB);
  }

  /** @internal */
  giveWriter(writer: ByteWriter): void {
    if (this.#spareWriters.length >= SPARE_WRITERS_MAX || writer.bytes.length > SPARE_WRITER_BYTES_MAX) return;
    writer.clear();
    this.#spareWriters.push(writer);
  }

  /** @internal */
  get prng(): Prng {
    return this.#prng;
  }

  #add(port: SimFramePort): SimFramePort {
    this.#ports.add(port);
    return port;
  }

  #pair(a: SimFramePort, b: SimFramePort, aLink: number, bLink: number | null): void {
    const pairing = { a, b, aLink, bLink, connection: null, failures: 0, pending: false };
    this.#pairings.add(pairing);
    this.#connectAfter(pairing, this.#prng.between(0, 1));
  }

  #connectAfter(pairing: Pairing, delayMs: number): void {
    if (pairing.pending) return;
    pairing.pending = true;
    this.kernel.after(delayMs, () => {
      pairing.pending = false;
      if (this.#pairings.has(pairing) && (pairing.connection === null || !pairing.connection.open))
        this.#connect(pairing);
    });
  }

  #connect(pairing: Pairing): void {
    const there = this.route(pairing.a.host, pairing.b.host);
    const back = this.route(pairing.b.host, pairing.a.host);
    // A paused process's kernel would shake hands for it, but nobody says HELLO.
    if (isBlocked(there) || isBlocked(back) || pairing.a.process.paused || pairing.b.process.paused) {
      const cap = Math.min(RECONNECT_MIN_MS * 2 ** Math.min(pairing.failures++, 10), RECONNECT_MAX_MS);
      this.#connectAfter(pairing, cap * this.#prng.between(0.5, 1));
      return;
    }
    pairing.failures = 0;
    const connection = new SimConnection(this, pairing);
    pairing.connection = connection;
    const aUpAt = this.kernel.now + this.delayOf(back);
    const bUpAt = this.kernel.now + this.delayOf(there);
    connection.ends[0].comeUp(aUpAt);
    connection.ends[1].comeUp(bUpAt);
  }

  #reset(connection: SimConnection): void {
    if (!connection.open) return;
    connection.open = false;
    this.counts.resets++;
    for (const end of connection.ends) this.#tellDown(end);
    this.#connectAfter(connection.pairing, this.#prng.between(RECONNECT_MIN_MS, RECONNECT_MIN_MS * 5));
  }

  #tellDown(end: SimEnd): void {
    if (!end.port.running) return;
    if (isBlocked(end.other.out)) this.#untold.add(end);
    else end.tellDown();
  }
}

/** Nothing gets through now, whether it is lost or held back. */
function isBlocked({ cut, clogged }: Route): boolean {
  return cut || clogged;
}

class SimConnection {
  readonly pairing: Pairing;
  readonly ends: readonly [SimEnd, SimEnd];
  /** False from the moment it is broken; the ends may hear of it later. */
  open = true;

  constructor(network: SimNetwork, pairing: Pairing) {
    this.pairing = pairing;
    const [a, b] = [
      new SimEnd(network, this, pairing.a, pairing.aLink, network.route(pairing.a.host, pairing.b.host)),
      new SimEnd(network, this, pairing.b, pairing.bLink, network.route(pairing.b.host, pairing.a.host)),
    ];
    a.other = b;
    b.other = a;
    this.ends = [a, b];
  }
}

/** One end of a connection: what its port has sent and is about to receive. */
class SimEnd implements FrameSink {
  readonly connection: SimConnection;
  readonly port: SimFramePort;
  other!: SimEnd;
  link: number | null;
  /** The port's handlers think the link is up. */
  up = false;
  paused = false;
  /** Bytes handed over by this end and not yet delivered to the other. */
  inFlightBytes = 0;
  overfull = false;
  dirty = false;
  /** The connection is over, but what is on its way to this end still arrives before it hears of that. */
  drains = false;
  /** The frames of this turn, in one of the network's spare writers; null between turns. */
  #collecting: ByteWriter | null = null;
  /** The direction from this end to the other. */
  readonly out: Route;
  readonly #network: SimNetwork;
  readonly #reader: FrameReader;
  /** Sends on their way to this end, in order of arrival; an arrival event takes the first. */
  readonly #wire: Uint8Array[] = [];
  /** Arrived while the port had paused the link. */
  readonly #unread: Uint8Array[] = [];
  /** Sent by this end while the way was cut (streams) or clogged, oldest first. */
  readonly #heldBack: Uint8Array[] = [];
  /** Nothing may arrive at this end before this time. */
  #lastArrival = 0;
  /** The latest arrival at this end that is scheduled, of datagrams. */
  #latestFrame = 0;
  #downTold = false;

  constructor(network: SimNetwork, connection: SimConnection, port: SimFramePort, link: number | null, out: Route) {
    this.#network = network;
    this.connection = connection;
    this.port = port;
    this.link = link;
    this.out = out;
    this.#reader = new FrameReader({ sink: this, cluster: CLUSTER, pool: network.pool });
  }

  get #takes(): boolean {
    return this.up && this.port.running && (this.connection.open || this.drains);
  }

  get holdsBack(): boolean {
    return this.#heldBack.length > 0;
  }

  comeUp(at: number): void {
    this.#lastArrival = at;
    this.port.process.at(at, () => {
      if (!this.#downTold && this.port.running) this.port.linkUp(this);
    });
  }

  tellDown(): void {
    if (this.#downTold) return;
    this.#downTold = true;
    const route = this.other.out;
    const at = Math.max(this.#network.kernel.now + this.#network.delayOf(route), this.#lastArrival);
    this.port.process.at(at, () => {
      if (this.up && this.port.running) this.port.linkDown(this);
    });
  }

  /** Where frames collect. */
  get collecting(): ByteWriter {
    return (this.#collecting ??= this.#network.takeWriter());
  }

  get collectedBytes(): number {
    return this.#collecting === null ? 0 : this.#collecting.length;
  }

  /** Sends what has collected in this turn. */
  transmit(): void {
    const collected = this.#collecting;
    if (collected === null || collected.length === 0) return;
    this.#collecting = null;
    const { length } = collected;
    // Broken, but this end has not heard of it: the bytes go nowhere, as into a socket whose peer is gone.
    const bytes = this.connection.open ? this.#network.slab.copy(collected.bytes, 0, length) : null;
    this.#network.giveWriter(collected);
    if (bytes === null) return;
    const route = this.out;
    this.inFlightBytes += length;
    if (this.inFlightBytes * 2 > route.settings.inFlightBytesMax) this.overfull = true;
    const datagram = route.settings.mode === "datagram";
    if (route.cut) this.#network.counts.cut++;
    else if (route.clogged) this.#network.counts.clogged++;
    // A clog holds back datagrams too; a cut loses them. A stream keeps its order behind what is held back.
    const waits = datagram ? route.clogged && !route.cut : isBlocked(route) || this.holdsBack;
    if (waits) this.#heldBack.push(bytes);
    else this.#put(bytes, route);
  }

  releaseHeld(): void {
    for (const bytes of this.#heldBack.splice(0)) this.#put(bytes, this.out);
  }

  #put(bytes: Uint8Array, route: Route): void {
    if (route.settings.mode === "datagram") this.#sendFrames(bytes, route);
    else this.#sendStream(bytes, route);
  }

  setPaused(paused: boolean): void {
    this.paused = paused;
    if (paused || this.#unread.length === 0) return;
    this.port.process.at(this.#network.kernel.now, () => this.#readUnread());
  }

  onFrame(kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
    if (!this.#takes) return false;
    this.port.handlers?.onFrame(this.link as number, kind, bytes, view, start, end);
    return this.#takes;
  }

  #sendStream(bytes: Uint8Array, route: Route): void {
    const { kernel, prng, counts } = this.#network;
    const { lossProbability, retransmitMs } = route.settings;
    let at = kernel.now + this.#network.delayOf(route);
    for (let losses = 0; losses < LOSSES_OF_A_SEND_MAX && prng.chance(lossProbability); losses++) {
      counts.retransmitted++;
      at += retransmitMs * (1 << losses);
    }
    const { other } = this;
    other.#lastArrival = Math.max(other.#lastArrival, at);
    other.#wire.push(bytes);
    other.port.process.at(other.#lastArrival, () => other.#arrive(other.#wire.shift() as Uint8Array, bytes.length));
  }

  #sendFrames(bytes: Uint8Array, route: Route): void {
    const { kernel, prng, counts } = this.#network;
    const view = viewOf(bytes);
    const { other } = this;
    for (let start = 0; start < bytes.length;) {
      const length = view.getUint32(start, true);
      const frame = bytes.subarray(start, start + length);
      start += length;
      if (route.cut || prng.chance(route.settings.lossProbability)) {
        if (!route.cut) counts.lost++;
        this.#delivered(length);
        continue;
      }
      const at = (): number => {
        const arrival = Math.max(kernel.now + this.#network.delayOf(route), other.#lastArrival);
        if (arrival < other.#latestFrame) counts.overtaken++;
        else other.#latestFrame = arrival;
        return arrival;
      };
      other.port.process.at(at(), () => other.#arrive(frame, length));
      if (!prng.chance(route.settings.duplicateProbability)) continue;
      counts.doubled++;
      other.port.process.at(at(), () => other.#arrive(frame, 0));
    }
  }

  /** `credit` is what the sender counts these bytes for. */
  #arrive(bytes: Uint8Array, credit: number): void {
    if (!this.#takes) return;
    this.#network.counts.delivered++;
    if (this.paused || this.#unread.length > 0) {
      this.#unread.push(bytes);
      return;
    }
    this.#read(bytes);
    this.other.#delivered(credit);
  }

  #readUnread(): void {
    while (!this.paused && this.#takes) {
      const bytes = this.#unread.shift();
      if (bytes === undefined) return;
      this.#read(bytes);
      this.other.#delivered(bytes.length);
    }
  }

  #read(bytes: Uint8Array): void {
    const { prng, kernel } = this.#network;
    const view = viewOf(bytes);
    // The checksum of the first frame stands for the bytes.
    kernel.trace.u32(bytes.length).u32(this.#reader.heldCapacity === 0 ? view.getUint32(4, true) : 0);
    let at = 0;
    while (at < bytes.length) {
      const next = prng.chance(0.25) ? Math.min(bytes.length, at + 1 + prng.below(bytes.length)) : bytes.length;
      const fault = this.#reader.push(bytes, view, at, next);
      assert(fault === null, `the simulated network has damaged a frame: ${fault?.detail}`);
      at = next;
    }
  }

  #delivered(length: number): void {
    this.inFlightBytes = Math.max(0, this.inFlightBytes - length);
    const { settings } = this.out;
    if (!this.overfull || this.inFlightBytes * 2 >= settings.inFlightBytesMax) return;
    this.overfull = false;
    this.port.process.at(this.#network.kernel.now, () => {
      if (this.up && this.port.running) this.port.handlers?.onDrain(this.link as number);
    });
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

type Purpose =
  | { readonly role: "peers"; readonly self: ReplicaId }
  | { readonly role: "listener"; readonly self: ReplicaId }
  | { readonly role: "dialler"; readonly targets: readonly ReplicaId[] };

class SimFramePort implements FramePort {
  readonly process: SimProcess;
  readonly host: string;
  readonly purpose: Purpose;
  handlers: FrameHandlers | null = null;
  /** Started, not closed, and its process not detached. */
  running = false;
  readonly #network: SimNetwork;
  readonly #ends = new Map<number, SimEnd>();
  #dirty: SimEnd[] = [];
  #serial = 0;
  #writing: SimEnd | null = null;
  #frameStart = 0;
  #frameKind = 0;

  constructor(network: SimNetwork, process: SimProcess, host: string, purpose: Purpose) {
    this.#network = network;
    this.process = process;
    this.host = host;
    this.purpose = purpose;
  }

  start(handlers: FrameHandlers): void {
    assert(this.handlers === null, "a port is started once");
    this.handlers = handlers;
    this.running = true;
    this.#network.started(this);
  }

  begin(link: number, kind: number): ByteWriter | null {
    assert(this.#writing === null, "begin before the end of the last frame");
    assert(kind >= 1 && kind <= FRAME_KIND_MAX, `frame kinds are 1 to ${FRAME_KIND_MAX}, got ${kind}`);
    const end = this.#ends.get(link);
    if (end === undefined || !this.running) return null;
    const { settings } = end.out;
    if (this.inFlightBytes(link) >= settings.inFlightBytesMax) {
      end.overfull = true;
      return null;
    }
    this.#writing = end;
    const writer = end.collecting;
    this.#frameStart = openFrame(writer);
    this.#frameKind = kind;
    if (!end.dirty) {
      end.dirty = true;
      this.#dirty.push(end);
    }
    return writer;
  }

  end(): void {
    const end = this.#writing;
    assert(end !== null, "end without begin");
    this.#writing = null;
    closeFrame(end.collecting, this.#frameStart, this.#frameKind, CLUSTER);
  }

  flush(): void {
    assert(this.#writing === null, "flush inside a frame");
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const end of dirty) {
      end.dirty = false;
      if (end.up) end.transmit();
    }
  }

  inFlightBytes(link: number): number {
    const end = this.#ends.get(link);
    return end === undefined ? 0 : end.inFlightBytes + end.collectedBytes;
  }

  pause(link: number): void {
    this.#ends.get(link)?.setPaused(true);
  }

  resume(link: number): void {
    this.#ends.get(link)?.setPaused(false);
  }

  disconnect(link: number, _reason: string): void {
    const end = this.#ends.get(link);
    if (end === undefined) return;
    this.#network.disconnect(end.connection);
  }

  close(done: () => void): void {
    if (this.running) this.flush();
    this.#network.remove(this, true);
    this.process.after(0, done);
  }

  linkUp(end: SimEnd): void {
    end.link ??= ++this.#serial;
    const older = this.#ends.get(end.link);
    if (older !== undefined) this.linkDown(older);
    end.up = true;
    this.#ends.set(end.link, end);
    this.handlers?.onLink(end.link, true);
  }

  linkDown(end: SimEnd): void {
    end.up = false;
    const link = end.link as number;
    if (this.#ends.get(link) !== end) return;
    this.#ends.delete(link);
    this.handlers?.onLink(link, false);
  }
}
