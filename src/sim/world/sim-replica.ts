import { assert, type Prng } from "../../base/index.js";
import type {
  ClusterConfig,
  Digest,
  ExecutionModel,
  Instance,
  QueueVisitor,
  ReplicaId,
  TraceCode,
} from "../../model/index.js";
import {
  type CheckpointStore,
  FRAME_BYTES_MAX,
  SIM_LINK_DEFAULTS,
  type ReplicaPlatform,
  SimDisk,
  type SimKernel,
  type SimNetwork,
  type SimProcess,
  SimWallClock,
} from "../../platform/index.js";
import { createReplica, type Replica, type ReplicaOptions, type ReplicaSiblings } from "../../runtime/index.js";
import type { WitnessChecker } from "../check/index.js";
import { type ArmedPoint, type CrashCoverage, CrashPoints, occasionOf } from "./crash-point.js";
import type { SimMachine } from "./machine.js";
import { ObservedExecution } from "./observed-execution.js";
import type { VoteWitness } from "./vote-witness.js";

export interface SimReplicaInit {
  readonly id: ReplicaId;
  readonly kernel: SimKernel;
  readonly network: SimNetwork;
  readonly config: ClusterConfig;
  readonly options: Partial<ReplicaOptions>;
  readonly segmentBytes: number;
  readonly siblings: ReplicaSiblings;
  readonly witness: VoteWitness | null;
  readonly coverage: CrashCoverage;
  /** True if the process may end now of itself. */
  readonly mayDie: (replica: SimReplica) => boolean;
  /** Wraps the platform of each process: planted bugs. */
  readonly disguise: (platform: ReplicaPlatform, replica: ReplicaId) => ReplicaPlatform;
  /** The replica begins a life, numbered from 1, with a durable checkpoint through this instance. */
  readonly onStart: (replica: ReplicaId, life: number, checkpointThrough: Instance) => void;
  readonly onTrace: (replica: ReplicaId, life: number, code: TraceCode, a: number, b: number, c: number) => void;
  readonly onState: (replica: ReplicaId, life: number, through: Instance, digest: Digest, timeMs: number) => void;
  /** Told of what every replica executes; null for a service without a reference model. */
  readonly execution: WitnessChecker | null;
  readonly onEvent: (replica: ReplicaId, event: string, fields?: Readonly<Record<string, unknown>>) => void;
  readonly onRecovered: (replica: ReplicaId) => void;
  readonly onFatal: (replica: ReplicaId, error: Error) => void;
}

/** A link that holds its maximum takes no further frame; the one before it may have been as long as any. */
const UNSENT_BYTES_MAX = SIM_LINK_DEFAULTS.inFlightBytesMax + FRAME_BYTES_MAX;

/** One life of a replica: a process, and what runs in it. */
interface Life {
  readonly process: SimProcess;
  readonly points: CrashPoints;
  readonly replica: Replica;
  readonly platform: ReplicaPlatform;
  readonly execution: () => ExecutionModel;
  stopping: boolean;
}

/** A machine of the simulated world with its disk, and the replica that lives on it, one process after the other. */
export class SimReplica implements SimMachine {
  readonly id: ReplicaId;
  readonly disk: SimDisk;
  readonly #init: SimReplicaInit;
  readonly #prng: Prng;
  #life: Life | null = null;
  #lives = 0;
  /** Where the next life is to end. */
  #armed: ArmedPoint | null = null;
  /** The machine's wall clock: what is wrong with it outlives its processes. */
  readonly wall: SimWallClock;

  constructor(init: SimReplicaInit) {
    this.#init = init;
    this.id = init.id;
    this.wall = new SimWallClock(init.kernel);
    this.#prng = init.kernel.prng.fork(`replica ${init.id}`);
    const { clusterId, durability } = init.config;
    const { segmentBytes } = init;
    this.disk = new SimDisk(init.kernel, { name: `r${init.id}`, clusterId, durability, segmentBytes });
  }

  get running(): boolean {
    return this.#life !== null;
  }

  /** The number of the present life, or of the last one. */
  get life(): number {
    return this.#lives;
  }

  get paused(): boolean {
    return this.#life?.process.paused === true;
  }

  get stopping(): boolean {
    return this.#life?.stopping === true;
  }

  get replica(): Replica | null {
    return this.#life?.replica ?? null;
  }

  get members(): readonly (Replica | null)[] {
    return [this.replica];
  }

  pauseThread(): boolean {
    return false;
  }

  resumeThread(): void {}

  get execution(): ExecutionModel | null {
    return this.#life?.execution() ?? null;
  }

  /** The queues of the replica and of its links, if it runs. */
  queues(visit: QueueVisitor): void {
    const life = this.#life;
    if (life === null) return;
    life.replica.queues(visit);
    const { peers } = life.platform;
    for (const { id } of this.#init.config.replicas) {
      if (id !== this.id) visit("unsent bytes to a peer", peers.inFlightBytes(id), UNSENT_BYTES_MAX);
    }
  }

  /** Cluster creation: writes the identity that makes this replica a voter, and calls back when it is durable. */
  create(done: () => void): void {
    const { clusterId, durability } = this.#init.config;
    const process = this.#init.kernel.spawn(`r${this.id} creation`);
    const { identity } = this.disk.attach(process);
    identity.save(
      {
        format: 1,
        clusterId,
        replica: this.id,
        durability,
        bootId: identity.bootId(),
        started: false,
        amnesiaNonce: 0,
      },
      (error) => {
        assert(error === null, "a new disk takes an identity");
        process.crash();
        done();
      },
    );
  }

  start(): void {
    assert(this.#life === null, `replica ${this.id} runs already`);
    const init = this.#init;
    const number = ++this.#lives;
    const process = init.kernel.spawn(`r${this.id}/${number}`);
    process.wall = this.wall;
    const points = new CrashPoints(this.id, init.coverage, () => init.mayDie(this));
    if (this.#armed !== null) points.arm(this.#armed);
    this.#armed = null;
    const storage = this.disk.attach(process);
    const real: ReplicaPlatform = {
      scheduler: process,
      peers: init.network.peers(process, this.id),
      clients: [init.network.listener(process, this.id)],
      ...storage,
      checkpoints: announced(storage.checkpoints, (through) => init.onStart(this.id, number, through)),
      events: {
        info: (event, fields) => init.onEvent(this.id, event, fields),
        warn: (event, fields) => init.onEvent(this.id, event, fields),
        error: (event, fields) => init.onEvent(this.id, event, fields),
      },
      nonce: () => 1 + this.#prng.u32() * 65_536,
    };
    // The witness stands closest to the world: it sees what really happened, whatever a planted bug claims.
    const watched = init.witness?.around(this.id, real) ?? real;
    const platform = init.disguise(points.around(watched), this.id);
    let execution: ExecutionModel | null = null;
    const siblings: ReplicaSiblings = {
      ...init.siblings,
      createExecution: (service) =>
        (execution = new ObservedExecution(
          init.siblings.createExecution(service),
          (through, digest, timeMs) => init.onState(this.id, number, through, digest, timeMs),
          init.execution,
          this.id,
        )),
    };
    const mine = (): boolean => this.#life?.process === process;
    const replica = createReplica({
      self: this.id,
      config: init.config,
      platform,
      options: init.options,
      onFatal: (error) => {
        if (mine()) init.onFatal(this.id, error);
      },
      onRecovered: () => {
        if (mine()) init.onRecovered(this.id);
      },
      onTrace: (code, a, b, c) => init.onTrace(this.id, number, code, a, b, c),
      traceValues: true,
      siblings,
    });
    this.#life = {
      process,
      points,
      replica,
      platform: real,
      execution: () => execution as ExecutionModel,
      stopping: false,
    };
    // A replica starts in a process of its own, never inside the call of whoever started it.
    process.after(0, () => replica.start());
  }

  /** Kills the process. With `power` the machine goes down with it, and the disk keeps what it must and perhaps more. */
  crash(kind: "power" | "process"): void {
    const life = this.#life;
    if (life === null) return;
    this.#life = null;
    this.#init.network.crash(life.process);
    this.disk.crash(kind);
  }

  /** Stops the replica as an operator would; `done` when its process has ended, unless it dies on the way. */
  stop(done: () => void): void {
    const life = this.#life;
    if (life === null || life.stopping) return;
    life.stopping = true;
    life.points.disarm();
    life.process.enter(() =>
      life.replica.stop(() => {
        if (this.#life !== life) return;
        this.#life = null;
        this.#init.network.crash(life.process);
        this.disk.crash("process");
        done();
      }),
    );
  }

  pause(): void {
    if (this.#life !== null && !this.#life.process.paused) this.#life.process.pause();
  }

  resume(): void {
    if (this.#life?.process.paused === true) this.#life.process.resume();
  }

  /** The process dies at this point: the present one if it can come by there, otherwise the next one. */
  armCrashPoint(armed: ArmedPoint): void {
    if (occasionOf(armed.point) === "work") this.#life?.points.arm(armed);
    else this.#armed = armed;
  }

  disarmCrashPoint(): void {
    this.#armed = null;
    this.#life?.points.disarm();
  }
}

/** The store, telling with what checkpoint a replica begins. */
function announced(store: CheckpointStore, onStart: (through: Instance) => void): CheckpointStore {
  return {
    open: (done) =>
      store.open((error, latest) => {
        onStart(latest?.through ?? 0);
        done(error, latest);
      }),
    begin: (through) => store.begin(through),
    read: (through) => store.read(through),
  };
}
