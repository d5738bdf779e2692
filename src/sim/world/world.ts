import { assert, Prng } from "../../base/index.js";
import {
  CheckpointDamagedError,
  type ClusterConfig,
  type Digest,
  type Instance,
  majority,
  membersOf,
  OPTIMISTIC_EXECUTION,
  type ProtocolModule,
  type ReplicaId,
  type SharedServiceModule,
  StorageError,
  TraceCode,
} from "../../model/index.js";
import { type FramePort, SimKernel, SimNetwork, type SimNetworkCounts, type SimProcess } from "../../platform/index.js";
import {
  type BlockClient,
  type BlockClientInit,
  clientMappingOf,
  createBlockClient,
  type ReplicaSiblings,
  sharedServiceFor,
  siblingsOf,
} from "../../runtime/index.js";
import {
  ClusterChecker,
  createKeyedReference,
  createReference,
  describeOverfull,
  hasReference,
  HistoryRecorder,
  QueueBounds,
  StreamsChecker,
  type ThreadEffect,
  type ThreadExecution,
  type ThreadLife,
  WitnessChecker,
} from "../check/index.js";
import type { FaultName, GroupsScenario, Scenario } from "../scenario/index.js";
import {
  btreeBounds,
  commandSource,
  type CommandSource,
  connectStreams,
  type LoadClient,
  RespClients,
  SimClient,
} from "../workload/index.js";
import { CrashCoverage, ProcessKilled } from "./crash-point.js";
import type { Disguise } from "./disguise.js";
import type { SimMachine } from "./machine.js";
import type { ThreadWitness } from "./observed-thread.js";
import { Operator } from "./operator.js";
import { memberOf, SimMembers } from "./sim-members.js";
import { SimReplica } from "./sim-replica.js";
import { WorldViolation } from "./violation.js";
import { VoteWitness } from "./vote-witness.js";

/** More events than this at one instant are a loop that would never let time go on. */
const INSTANT_EVENTS_MAX = 20_000;
const NOTES_MAX = 4000;
/** Queues are looked at this often, in virtual ms. */
const SAMPLE_MS = 100;
const CLUSTER_ID = "53594e4f44303031";

/**
 * One simulated cluster with its clients, and everything that can be done to it. The same seed gives the same history,
 * event for event: all randomness comes from the kernel's generator, and nothing reads a clock but the kernel's.
 */
export class SimWorld {
  readonly scenario: Scenario;
  readonly kernel: SimKernel;
  /** One, or one for each member of replicas with several groups: those of one host may be struck together or alone. */
  readonly networks: readonly SimNetwork[];
  readonly replicas: readonly SimMachine[];
  readonly clients: LoadClient[] = [];
  readonly history = new HistoryRecorder();
  readonly source: CommandSource;
  /** One for each network. */
  readonly operators: readonly Operator[];
  readonly config: ClusterConfig;
  readonly #disguise: Disguise;
  /** By member. */
  readonly #votes: readonly VoteWitness[];
  readonly #checker: ClusterChecker;
  /** In place of the one checker, for several groups. */
  readonly streams: StreamsChecker | null;
  readonly queues = new QueueBounds();
  /** Where processes came by and died. */
  readonly coverage = new CrashCoverage();
  /** Replicas with several groups that began anew with a state of a peer. */
  restarts = 0;
  /** Conservative executions that threads refused since an earlier one of the session waits, and what they had multicast again. */
  refusedSiblings = 0;
  multicastAgain = 0;
  /** Starts from a log that lacked values, and went on without having forgotten who it was. */
  repairs = 0;
  #sampleAtMs = 0;
  /** Executes the decided order once more; null for a service without a reference model. */
  readonly witness: WitnessChecker | null;
  /** Replicas that have lost, or may have lost, promises and votes and have not rejoined. */
  readonly #forgetful = new Set<ReplicaId>();
  /** Replicas that go on, without a power cut, after their disk has failed. */
  readonly #tainted = new Set<ReplicaId>();
  /** Replicas whose disk holds something wrong that no process has started from yet. */
  readonly #unsound = new Set<ReplicaId>();
  /** Replicas whose disk has been filled up and that have not met the end of it. */
  readonly #filled = new Set<ReplicaId>();
  /** Replicas that have lost a checkpoint, and how far they had come with it. */
  readonly #bereft = new Map<ReplicaId, Instance>();
  /** How far each replica's state has ever come; with several groups in g_all, whose cuts say how far in the others. */
  readonly #reached = new Map<ReplicaId, Instance>();
  /** Replicas whose disk was told to fail once: they may stop with a storage error. */
  readonly #failing = new Set<ReplicaId>();
  /** Called when a replica has gone down by itself, at a crash point or after a storage error. */
  onDown: (replica: SimMachine) => void = () => {};
  readonly #prng: Prng;
  readonly #notes: string[] = [];
  #lastNs = 0;
  #instant = 0;
  #instantEvents = 0;
  /** How often each kind of trace event was seen, by its code: says whether a run met what it was meant to meet. */
  readonly traced = new Map<number, number>();
  readonly #fired = new Map<FaultName, number>();

  /** `source`: what the clients ask, in place of what the scenario's service is asked by default. */
  constructor(scenario: Scenario, disguise: Disguise = {}, source: CommandSource | null = null) {
    this.scenario = scenario;
    this.kernel = new SimKernel(scenario.seed);
    this.#prng = this.kernel.prng.fork("world");
    const members = membersOf({ groups: scenario.groups?.count ?? 1 });
    this.networks = Array.from({ length: members }, () => new SimNetwork(this.kernel, scenario.network));
    this.config = clusterConfig(scenario);
    this.source = source ?? commandSource(scenario.service, scenario.workload, this.config);
    const ids = this.config.replicas.map((replica) => replica.id);
    const real = siblingsOf(this.config);
    this.#disguise = disguise;
    this.#checker = new ClusterChecker(ids.length);
    this.streams =
      scenario.groups === undefined
        ? null
        : new StreamsChecker(scenario.groups.count, ids.length, createKeyedReference(scenario.service));
    const witnessed = scenario.groups === undefined && hasReference(scenario.service);
    this.witness = witnessed ? new WitnessChecker(createReference(scenario.service)) : null;
    this.#votes = this.networks.map(() => new VoteWitness(real.ordering.codec, ids.length));
    this.replicas = ids.map((id) => this.#machine(id, real));
    this.operators = this.networks.map((network) => new Operator(this.kernel, network, ids));
  }

  get network(): SimNetwork {
    return this.networks[0] as SimNetwork;
  }

  #machine(id: ReplicaId, real: ReplicaSiblings): SimMachine {
    const { scenario } = this;
    const tuned = this.#tuned(real);
    const shared = {
      id,
      kernel: this.kernel,
      config: this.config,
      options: scenario.options,
      segmentBytes: scenario.segmentBytes,
      coverage: this.coverage,
      mayDie: (replica: SimMachine) => !this.forgetsBy("process") || this.mayForget(replica),
    };
    if (scenario.groups !== undefined)
      return new SimMembers({ ...shared, ...this.#membersOf(id, tuned, scenario.groups) });
    return new SimReplica({
      ...shared,
      network: this.network,
      siblings: this.#disguise.siblings?.(tuned, id) ?? tuned,
      witness: this.#votes[0] ?? null,
      execution: this.witness,
      disguise: (platform) => this.#disguise.platform?.(platform, id) ?? platform,
      onStart: (replica, life, through) => {
        this.#checker.onStart(replica, life, through);
        this.#verify();
      },
      onTrace: (replica, life, code, a, b, c) => this.#onTrace(replica, life, code, a, b, c),
      onState: (replica, life, through, digest, timeMs) => this.#onState(replica, life, through, digest, timeMs),
      onEvent: (replica, event, fields) => this.#onEvent(`r${replica}`, event, fields),
      onRecovered: (replica) => this.#onRecovered(replica),
      onFatal: (replica, error) => this.#onFatal(replica, error),
    });
  }

  #membersOf(id: ReplicaId, { ordering }: ReplicaSiblings, groups: GroupsScenario) {
    const streams = this.streams as StreamsChecker;
    return {
      networks: this.networks,
      groups,
      limits: this.scenario.limits,
      ordering,
      service: this.#sharedService,
      witnesses: this.#votes,
      disguise: this.#disguise.members ?? {},
      witnessOf: (thread: ThreadLife): ThreadWitness => ({
        began: (own, all, restored) => this.#seen(() => streams.onBegan(thread, own, all, restored)),
        delivered: (stream, instance, hash, batch) =>
          this.#seen(() => streams.onDelivered(thread, stream, instance, hash, batch)),
        executed: (stream, through, execution) =>
          this.#seen(() => {
            this.#traceExecution(id, thread.thread, stream, through, execution);
            streams.onExecuted(thread, stream, through, execution);
          }),
        refused: () => this.refusedSiblings++,
        again: () => this.multicastAgain++,
        state: (through, digest, timeMs) =>
          this.#seen(() => {
            this.#reachedState(id, through);
            streams.onState(id, thread.life, through, digest, timeMs);
          }),
        cut: (all, own) => this.#seen(() => streams.onCut(thread, all, own)),
      }),
      onTrace: (member: number, life: number, code: TraceCode, a: number, b: number, c: number) =>
        this.#onMemberTrace(member, id, life, { code, a, b, c }),
      onEvent: (member: number, event: string, fields?: Readonly<Record<string, unknown>>) =>
        this.#onEvent(`r${id}.${member}`, event, fields),
      onRecovered: () => this.#onRecovered(id),
      onFatal: (error: Error) => this.#onFatal(id, error),
      onRestart: (reason: string) => {
        this.restarts++;
        this.note(`r${id}`, `begins anew: ${reason}`);
        // What its log had not made durable it may have voted for in memory only; a process that ends forgets nothing else.
        if (this.forgetsBy("process")) this.#forgetful.add(id);
      },
    };
  }

  /** What all replicas with several groups run. */
  get #sharedService(): SharedServiceModule {
    return this.#disguise.shared ?? sharedServiceFor(this.config);
  }

  #onEvent(who: string, event: string, fields?: Readonly<Record<string, unknown>>): void {
    if (event === "damaged records are replaced by those of the others") this.repairs++;
    this.note(who, `${event} ${fields === undefined ? "" : JSON.stringify(fields)}`);
  }

  #onRecovered(replica: ReplicaId): void {
    if (!this.#bereft.has(replica) && this.#isSound(replica)) this.#forgetful.delete(replica);
  }

  #seen(look: () => void): void {
    look();
    this.#verify();
  }

  /** The siblings with the scenario's knobs and limits, which a replica's configuration does not have. */
  #tuned(real: ReplicaSiblings): ReplicaSiblings {
    const ordering: ProtocolModule<unknown, unknown, unknown> = {
      name: real.ordering.name,
      codec: real.ordering.codec,
      create: (init, config) => real.ordering.create(init, { ...config, ...this.scenario.knobs }),
    };
    const { limits } = this.scenario;
    // A planted bug may have other limits than the cluster.
    return {
      ...real,
      ordering,
      createExecution: (service, own) => real.createExecution(service, { ...limits, ...own }),
    };
  }

  // Life of the world.

  /** Creates the cluster and starts its replicas and clients. */
  start(): void {
    let open = this.replicas.length;
    for (const replica of this.replicas) {
      replica.create(() => {
        if (--open > 0) return;
        for (const each of this.replicas) {
          this.kernel.after(this.#prng.between(0, 5), () => {
            // One that was struck before its first start is started by whoever struck it, perhaps sooner.
            if (!each.running) each.start();
          });
        }
      });
    }
    for (let i = 1; i <= this.scenario.workload.clients; i++) {
      this.kernel.after(this.#prng.between(0, 200), () => this.clients.push(this.client(`c${i}`)));
    }
    const { service, workload } = this.scenario;
    if (service === "kv" && workload.connections > 0) this.kernel.after(50, () => this.clients.push(this.#gateway()));
  }

  client(name: string): SimClient {
    const ids = this.config.replicas.map((replica) => replica.id);
    const { scenario, streams } = this;
    const connect = this.#disguise.client ?? createBlockClient;
    return new SimClient({
      name,
      kernel: this.kernel,
      prng: this.#prng.fork(name),
      scenario: this.scenario,
      replicas: ids,
      source: this.source,
      history: this.history,
      nowNs: () => this.nowNs(),
      onAcknowledged: (session, first, last) => {
        if (streams === null) this.#checker.onAcknowledged(session, last);
        else streams.onAcknowledged(session, first, last);
      },
      witness: this.witness,
      open: (life) => {
        const process = this.kernel.spawn(life);
        return { process, ports: this.networks.map((network) => network.dialler(process, name, ids)) };
      },
      kill: (process: SimProcess) => {
        for (const network of this.networks) network.crash(process);
      },
      connect:
        scenario.groups === undefined
          ? (init, ports) => connect({ ...init, port: ports[0] as FramePort })
          : (init, ports) => this.#connectStreams(init, ports),
    });
  }

  #connectStreams(init: Omit<BlockClientInit, "port">, ports: readonly FramePort[]): BlockClient {
    const { members: disguise } = this.#disguise;
    const real = this.#sharedService;
    const mapping = clientMappingOf(this.config, disguise?.service?.(real, 0) ?? real);
    const connect = disguise?.client ?? connectStreams;
    const { resubmit } = this.config;
    return connect(resubmit === undefined ? init : { ...init, resubmit }, ports, mapping, this.#prng.fork("streams"));
  }

  /** A gateway with its connections, on the machine of the first client. */
  #gateway(): RespClients {
    const replicas = this.config.replicas.map((replica) => replica.id);
    return new RespClients({
      name: "g",
      // Of its own, so that a world with a gateway draws what it would draw without one.
      prng: new Prng(`gateway ${this.scenario.seed}`),
      scenario: this.scenario,
      replicas,
      open: (life) => {
        const process = this.kernel.spawn(life);
        return { process, port: this.network.dialler(process, "c1", replicas) };
      },
      kill: (process: SimProcess) => this.network.crash(process),
      connect: this.#disguise.gateway ?? createBlockClient,
      onDisorder: (message) => {
        throw new WorldViolation("connection-order", message);
      },
    });
  }

  /**
   * Runs until virtual time `untilMs` or until `stop` says so; processes that die at a crash point are buried on the way.
   * Throws `WorldViolation` when time stands still, and whatever the code under test throws.
   */
  run(untilMs: number, stop?: () => boolean): void {
    const kernel = this.kernel;
    const watched = (): boolean => {
      if (kernel.now > this.#instant) {
        this.#instant = kernel.now;
        this.#instantEvents = kernel.events;
      } else if (kernel.events - this.#instantEvents > INSTANT_EVENTS_MAX) {
        throw new WorldViolation(
          "time-goes-on",
          `more than ${INSTANT_EVENTS_MAX} events at one instant; ${this.describe()}`,
        );
      }
      if (kernel.now >= this.#sampleAtMs) this.#sampleQueues();
      return stop?.() === true;
    };
    for (;;) {
      try {
        kernel.run(untilMs, watched);
        return;
      } catch (error) {
        if (!(error instanceof ProcessKilled)) throw error;
        this.note("world", error.message);
        this.fired("crash-point");
        const replica = this.replica(error.replica);
        this.crash(replica, this.crashKind());
        this.onDown(replica);
      }
    }
  }

  /** Memory is bounded: no queue of any replica holds more than it may. */
  #sampleQueues(): void {
    this.#sampleAtMs = this.kernel.now + SAMPLE_MS;
    for (const replica of this.replicas) {
      const owner = `replica ${replica.id}`;
      replica.queues((queue, value, maximum) => this.queues.sample(owner, queue, value, maximum));
    }
    const { overfull } = this.queues;
    if (overfull !== null) throw new WorldViolation("bounded-memory", describeOverfull(overfull));
  }

  /** Virtual time in ns, rising with each call, so that events of one instant keep their order. */
  nowNs(): number {
    this.#lastNs = Math.max(this.#lastNs + 1, Math.round(this.kernel.now * 1e6));
    return this.#lastNs;
  }

  // What can be done to replicas.

  replica(id: ReplicaId): SimMachine {
    const found = this.replicas.find((replica) => replica.id === id);
    assert(found !== undefined, `there is no replica ${id}`);
    return found;
  }

  /** The running replica that leads in the highest ballot, if one believes to lead; with several groups, in one of their streams. */
  leader(member = 0): SimMachine | null {
    let best: SimMachine | null = null;
    let ballot = -1;
    for (const replica of this.replicas) {
      const status = replica.members[member]?.status();
      if (status?.role !== "leader" || status.ballot <= ballot) continue;
      best = replica;
      ballot = status.ballot;
    }
    return best;
  }

  /** True if one more replica, this one, may lose its memory: at most f at a time, or losing data would be no fault. */
  mayForget(replica: SimMachine): boolean {
    if (this.#forgetful.has(replica.id)) return true;
    const { replicas } = this.scenario;
    return this.#forgetful.size + 1 <= replicas - majority(replicas);
  }

  /** No replica has lost, or may have lost, anything that it has not made good for. */
  get remembersAll(): boolean {
    return this.#forgetful.size === 0 && this.#tainted.size === 0 && this.#unsound.size === 0;
  }

  /** True if the end of this process, or of its machine, makes the replica forget. */
  forgetsBy(kind: "power" | "process"): boolean {
    const { durability } = this.scenario;
    return durability === "memory" || (durability === "os" && kind === "power");
  }

  /** How a process dies that dies by itself. */
  crashKind(): "power" | "process" {
    return this.scenario.durability !== "os" && this.#prng.chance(0.6) ? "power" : "process";
  }

  crash(replica: SimMachine, kind: "power" | "process"): void {
    if (!replica.running) return;
    const end = kind === "process" && this.#hasRefused(replica) ? this.#endAfterRefusal(replica) : kind;
    this.note(`r${replica.id}`, `dies (${end})`);
    replica.crash(end);
    this.#settleDisk(replica);
    if (end === "power") this.#tainted.delete(replica.id);
    if (this.forgetsBy(end)) this.#forgets(replica);
  }

  /** Gracefully; the replica is down when its process has ended. */
  stop(replica: SimMachine, done: () => void): void {
    this.note(`r${replica.id}`, "is stopped");
    const forgets = this.forgetsBy("process");
    // It counts as forgetful from now on, so that no other is allowed to; until it has ended it remembers and may vote.
    if (forgets) this.#forgetful.add(replica.id);
    replica.stop(() => {
      this.#settleDisk(replica);
      if (this.#hasRefused(replica) && this.#endAfterRefusal(replica) === "power") replica.disk.crash("power");
      if (forgets) this.#forgets(replica);
      done();
    });
  }

  /** Empties the directory of a replica that is down. */
  wipe(replica: SimMachine): void {
    this.note(`r${replica.id}`, "loses its directory");
    replica.disk.wipe();
    this.#tainted.delete(replica.id);
    this.#forgets(replica);
  }

  /** A bit of the log of a replica that was stopped flips, if it has one. The replica may find out, and then rejoins. */
  damageLog(replica: SimMachine): void {
    const damaged = replica.disk.damageLog();
    this.note(`r${replica.id}`, `has a damaged log: ${JSON.stringify(damaged)}`);
    if (damaged === null) return;
    this.fired("damage");
    this.#forgetful.add(replica.id);
  }

  /**
   * A bit of the newest checkpoint of a replica that was stopped flips. Its log below is gone, so it counts as one without
   * memory until it has a state that reaches as far again.
   */
  damageCheckpoint(replica: SimMachine): void {
    const damaged = replica.disk.damageCheckpoint();
    this.note(`r${replica.id}`, `has ${damaged ? "a damaged" : "no"} checkpoint`);
    if (!damaged) return;
    this.fired("damage");
    this.#forgetful.add(replica.id);
    this.#bereft.set(replica.id, this.#reached.get(replica.id) ?? 0);
  }

  failDisk(replica: SimMachine, prng: Prng): void {
    this.note(`r${replica.id}`, "has a disk that will fail");
    this.#failing.add(replica.id);
    if (prng.chance(0.7)) replica.disk.faults.failSync = "EIO";
    else replica.disk.faults.failWrite = prng.pick(["EIO", "ENOSPC"]);
  }

  /** Bits of settled records in the log of a running replica flip. It finds out when it starts next; false if it has none. */
  rotLog(replica: SimMachine, bits: number): boolean {
    let flipped = 0;
    for (let i = 0; i < bits; i++) if (replica.disk.rotLog() !== null) flipped++;
    if (flipped === 0) return false;
    this.note(`r${replica.id}`, `has ${flipped} rotten records`);
    this.#forgetful.add(replica.id);
    this.#unsound.add(replica.id);
    return true;
  }

  /** The next write to the log of a running replica lands in a wrong place. */
  misdirectWrite(replica: SimMachine): void {
    this.note(`r${replica.id}`, "has a disk that will put a write in a wrong place");
    replica.disk.faults.misdirectWrite = true;
    this.#forgetful.add(replica.id);
    this.#unsound.add(replica.id);
  }

  /** The disk of a replica has so many bytes left, and none more before `repairDisk`. */
  fillDisk(replica: SimMachine, leftBytes: number): void {
    this.note(`r${replica.id}`, `has ${leftBytes} bytes left on its disk`);
    replica.disk.faults.capacityBytes = replica.disk.usedBytes() + leftBytes;
    this.#filled.add(replica.id);
  }

  /** A replica that is down loses its log, or one of several, and keeps its identity and checkpoints. */
  loseLog(replica: SimMachine): void {
    const part = replica.disk.loseDirectory("log");
    this.note(`r${replica.id}`, `loses its log ${part}`);
    this.#tainted.delete(replica.id);
    this.#forgets(replica, part === "" ? null : memberOf(part));
  }

  /** A bit of the identity of a replica that is down flips; it may be one that means nothing. */
  damageIdentity(replica: SimMachine): boolean {
    const damaged = replica.disk.damageIdentity();
    this.note(`r${replica.id}`, `has ${damaged ? "a damaged" : "no"} identity`);
    if (damaged) this.#forgetful.add(replica.id);
    return damaged;
  }

  repairDisk(replica: SimMachine): void {
    const { faults } = replica.disk;
    faults.failSync = null;
    faults.failWrite = null;
    faults.misdirectWrite = false;
    faults.flipReads = null;
    faults.capacityBytes = Infinity;
  }

  /** The process that was to fall into it has ended: whoever comes next starts from what the disk holds by now. */
  #settleDisk(replica: SimMachine): void {
    if (replica.disk.faults.misdirectWrite) replica.disk.faults.misdirectWrite = false;
    this.#unsound.delete(replica.id);
  }

  /** Its disk holds what its process believes. */
  #isSound(id: ReplicaId): boolean {
    return !this.#tainted.has(id) && !this.#unsound.has(id);
  }

  /** `member`: which of several has lost what it stored; null for all of the replica. */
  #forgets(replica: SimMachine, member: number | null = null): void {
    assert(this.mayForget(replica), `replica ${replica.id} would be one too many without memory`);
    this.#forgetful.add(replica.id);
    this.#votes.forEach((votes, index) => {
      if (member === null || member === index) votes.forgot(replica.id);
    });
  }

  // What is seen.

  /** Of each stream, how far it was decided as far as any replica knows. */
  decided(): Instance[] {
    return this.networks.map((_, member) =>
      Math.max(...this.replicas.map((replica) => replica.members[member]?.status().decided ?? 0)),
    );
  }

  /** Commands that Redis connections were answered so far. */
  connectionReplies(): number {
    return this.clients.reduce((sum, client) => sum + (client instanceof RespClients ? client.completed : 0), 0);
  }

  /** A fault has struck something. */
  fired(fault: FaultName): void {
    this.#fired.set(fault, (this.#fired.get(fault) ?? 0) + 1);
  }

  /**
   * How often each enabled fault has come about so far, 0 included: strikes that found something to strike, and for faults
   * that hold all the time the sends they met.
   */
  faultCounts(): ReadonlyMap<FaultName, number> {
    const sum = (of: (counts: SimNetworkCounts) => number): number =>
      this.networks.reduce((total, { counts }) => total + of(counts), 0);
    const met = new Map<FaultName, number>([
      ["loss", sum(({ lost, retransmitted }) => lost + retransmitted)],
      ["delay", sum(({ spiked }) => spiked)],
      ["duplicate", sum(({ doubled }) => doubled)],
      ["reorder", sum(({ overtaken }) => overtaken)],
    ]);
    return new Map(
      [...this.scenario.faults.keys()].map((fault) => [fault, met.get(fault) ?? this.#fired.get(fault) ?? 0]),
    );
  }

  #onTrace(replica: ReplicaId, life: number, code: TraceCode, a: number, b: number, c: number): void {
    this.kernel.trace
      .u32(replica * 64 + code)
      .f64(this.kernel.now)
      .f64(a)
      .f64(b)
      .f64(c);
    this.traced.set(code, (this.traced.get(code) ?? 0) + 1);
    if (code === TraceCode.decided) this.#votes[0]?.onDecided(a, c);
    else if (code === TraceCode.rejoined) this.#votes[0]?.rejoined(replica);
    this.#checker.onTrace(replica, life, code, a, b, c);
    this.#verify();
  }

  #onMemberTrace(member: number, replica: ReplicaId, life: number, effect: ThreadEffect): void {
    const { code, a, b, c } = effect;
    this.kernel.trace
      .u32((member * 64 + replica) * 64 + code)
      .f64(this.kernel.now)
      .f64(a)
      .f64(b)
      .f64(c);
    this.traced.set(code, (this.traced.get(code) ?? 0) + 1);
    if (code === TraceCode.decided) this.#votes[member]?.onDecided(a, c);
    else if (code === TraceCode.rejoined) this.#votes[member]?.rejoined(replica);
    this.streams?.onTrace(member, replica, life, effect);
    this.#verify();
  }

  #traceExecution(
    replica: ReplicaId,
    thread: number,
    stream: number,
    through: Instance,
    execution: ThreadExecution | null,
  ): void {
    this.kernel.trace
      .u32((thread * 64 + replica) * 64 + stream)
      .f64(this.kernel.now)
      .f64(through);
    for (const { code, a, b, c } of execution?.effects ?? []) this.kernel.trace.u32(code).f64(a).f64(b).f64(c);
  }

  #onState(replica: ReplicaId, life: number, through: Instance, digest: Digest, timeMs: number): void {
    this.#reachedState(replica, through);
    this.#checker.onDigest(replica, through, digest);
    this.#checker.onAgreedTime(replica, life, through, timeMs);
    this.#verify();
  }

  #reachedState(replica: ReplicaId, through: Instance): void {
    if (through > (this.#reached.get(replica) ?? 0)) this.#reached.set(replica, through);
    if (through < (this.#bereft.get(replica) ?? Infinity)) return;
    this.#bereft.delete(replica);
    const recovering = this.replica(replica).members.some((member) => member?.status().role === "recovering");
    if (!recovering && this.#isSound(replica)) this.#forgetful.delete(replica);
  }

  /** The first violation ends the run, where it happened. */
  #verify(): void {
    const first = this.#checker.violations()[0] ?? this.streams?.violations()[0];
    if (first !== undefined) throw new WorldViolation(first.invariant, first.message);
    const seen = this.witness?.violations()[0];
    if (seen === undefined) return;
    // What the witness sees in replies and places is what the search for an order would not find one for.
    const own = seen.invariant === "durability" || seen.invariant === "connection-order";
    throw new WorldViolation(own ? seen.invariant : "linearizability", `${seen.invariant}: ${seen.message}`);
  }

  /** To be called when the replicas have settled. Throws `WorldViolation`. */
  finish(): void {
    this.#checker.finish();
    this.streams?.finish();
    this.witness?.finish();
    this.#verify();
  }

  #onFatal(id: ReplicaId, error: Error): void {
    if (error instanceof WorldViolation) throw error;
    if (error instanceof CheckpointDamagedError && this.#bereft.has(id)) {
      // A misread had undone the damage when the replica looked for a checkpoint. The next start passes over it.
      this.note(`r${id}`, `stops: ${error.message}`);
      this.crash(this.replica(id), "process");
      this.onDown(this.replica(id));
      return;
    }
    const full = error instanceof StorageError && error.diskFull && this.replica(id).disk.refusedForRoom;
    if (!(error instanceof StorageError) || (!full && !this.#failing.has(id))) {
      throw new WorldViolation("no-replica-gives-up", `replica ${id} stopped: ${error.stack ?? error.message}`);
    }
    const replica = this.replica(id);
    this.note(`r${id}`, `stops: ${error.message}`);
    if (full) {
      // Nothing that it had confirmed is lost; it comes back when it is started, and stops again if there is no room yet.
      if (this.#filled.delete(id)) this.fired("full-disk");
      this.crash(replica, "process");
      this.onDown(replica);
      return;
    }
    this.crash(replica, this.#endAfterRefusal(replica));
    this.repairDisk(replica);
    this.#failing.delete(id);
    this.onDown(replica);
  }

  /** Its disk has failed a sync, and nobody has reckoned with that yet: not every process lives to say so. */
  #hasRefused(replica: SimMachine): boolean {
    return replica.disk.refusedSync && !this.#tainted.has(replica.id);
  }

  /**
   * How a process ends whose disk has failed. One that starts again on the same machine reads from memory what the disk has
   * refused, and loses it at the next power cut. Its log finds out then, so until then it counts as one that may forget;
   * where it may not, the machine goes down with the process.
   */
  #endAfterRefusal(replica: SimMachine): "power" | "process" {
    this.fired("disk-error");
    // A second failure that it was struck with may be to come.
    const { failSync, failWrite } = replica.disk.faults;
    if (failSync === null && failWrite === null) this.#failing.delete(replica.id);
    if (!this.mayForget(replica) || !this.#prng.chance(0.5)) return "power";
    this.#forgetful.add(replica.id);
    this.#tainted.add(replica.id);
    return "process";
  }

  /** Keeps a line of what happened, for whoever looks at a seed that failed; the newest `NOTES_MAX` are kept. */
  note(who: string, what: string): void {
    if (this.#notes.length >= NOTES_MAX) this.#notes.splice(0, NOTES_MAX / 4);
    this.#notes.push(`${this.kernel.now.toFixed(3)} ${who} ${what}`);
  }

  get notes(): readonly string[] {
    return this.#notes;
  }

  /** One line per replica, for reports of runs that do not end. */
  describe(): string {
    return this.replicas
      .flatMap((replica) =>
        replica.members.map((member, index) => {
          const name = replica.members.length === 1 ? `r${replica.id}` : `r${replica.id}.${index}`;
          const status = member?.status();
          if (status === undefined) return `${name} down`;
          const { role, leader, ballot, decided, executed, trimmed, checkpoint } = status;
          return `${name} ${role} of r${leader} ballot ${ballot} decided ${decided} executed ${executed} trimmed ${trimmed} checkpoint ${checkpoint}`;
        }),
      )
      .join("; ");
  }
}

/** Ports of members are told apart by the hundreds. */
function clusterConfig(scenario: Scenario): ClusterConfig {
  const { groups } = scenario;
  const members = Array.from({ length: groups?.count ?? 0 }, (_, member) => 100 * (member + 1));
  return {
    format: 1,
    clusterId: CLUSTER_ID,
    service: scenario.service,
    ordering: scenario.ordering,
    execution: scenario.execution,
    reads: groups === undefined ? "quorum" : "ordered",
    groups: groups?.count ?? 1,
    ...(groups === undefined ? {} : { merge: groups.merge, barrier: groups.barrier }),
    ...optimismOf(scenario),
    durability: scenario.durability,
    replicas: Array.from({ length: scenario.replicas }, (_, index) => ({
      id: index + 1,
      peer: `127.0.0.1:${10_000 + index}`,
      client: `127.0.0.1:${11_000 + index}`,
      resp: null,
      ...(groups === undefined
        ? {}
        : {
            members: members.map((port) => ({
              peer: `127.0.0.1:${30_000 + port + index}`,
              client: `127.0.0.1:${40_000 + port + index}`,
            })),
          }),
    })),
  };
}

/** Leaves belong to one group only where keys do by ranges, and those that do not lie around the bounds. */
function optimismOf({ execution, service, workload, groups }: Scenario): Partial<ClusterConfig> {
  if (groups === undefined || execution !== OPTIMISTIC_EXECUTION) return {};
  const { count, resubmit } = groups;
  return { resubmit, ...(service === "btree" ? { bounds: btreeBounds(workload, count).map(String) } : {}) };
}
