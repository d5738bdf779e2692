import type { QueueVisitor, ReplicaId } from "../../model/index.js";
import type { SimDisk, SimWallClock } from "../../platform/index.js";
import type { Replica } from "../../runtime/index.js";
import type { ArmedPoint } from "./crash-point.js";

/** A machine of the simulated world with its disk, and the replica that lives on it, one life after the other. */
export interface SimMachine {
  readonly id: ReplicaId;
  readonly disk: SimDisk;
  /** The machine's wall clock: what is wrong with it outlives its processes. */
  readonly wall: SimWallClock;
  readonly running: boolean;
  /** The number of the present life, or of the last one. */
  readonly life: number;
  readonly paused: boolean;
  readonly stopping: boolean;
  /** The replica, or its member 0; null while none runs. */
  readonly replica: Replica | null;
  /** The replica, or all its members that run, by number. */
  readonly members: readonly (Replica | null)[];
  /** The queues of the replica and of its links, if it runs. */
  queues(visit: QueueVisitor): void;
  /** Cluster creation: writes what makes this replica a voter, and calls back when it is durable. */
  create(done: () => void): void;
  start(): void;
  /** Kills the replica. With `power` the machine goes down with it, and the disk keeps what it must and perhaps more. */
  crash(kind: "power" | "process"): void;
  /** Stops the replica as an operator would; `done` when its process has ended, unless it dies on the way. */
  stop(done: () => void): void;
  pause(): void;
  resume(): void;
  /** One thread of the replica stands still, `thread` counting from 0; false if there is none that could. */
  pauseThread(thread: number): boolean;
  resumeThread(thread: number): void;
  /** The process dies at this point: the present one if it can come by there, otherwise the next one. */
  armCrashPoint(armed: ArmedPoint): void;
  disarmCrashPoint(): void;
}
