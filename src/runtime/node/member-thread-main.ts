/** The module that the thread of a member starts from, of a replica with several groups. `replica-members.ts` starts it. */
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.js";
import { type ClusterConfig, ExitCode, type SharedServiceModule } from "../../model/index.js";
import { type EventLog, SystemScheduler } from "../../platform/index.js";
import { ThreadBells } from "../groups/index.js";
import { sharedServiceFor } from "../registry.js";
import type { Replica } from "../replica/api.js";
import { ReplicaMetrics } from "../replica/metrics.js";
import { loadCluster } from "./cluster-directory.js";
import type { FromMemberThread, MemberBeginning, MemberThreadData, ToMemberThread } from "./member-message.js";
import { observeService } from "./observe-service.js";
import { openMember, type OpenedMember } from "./open-member.js";
import { ReplicaReader } from "./reading.js";
import { ReplicaSecurity } from "./security.js";
import { isServiceModule, loadSharedServiceModule } from "../user-service/index.js";
import { failureOf } from "./thread-message.js";

class MemberThread {
  readonly #data: MemberThreadData;
  readonly #service: SharedServiceModule;
  readonly #say: (message: FromMemberThread) => void;
  readonly #events: EventLog;
  readonly #scheduler = new SystemScheduler();
  readonly #metrics = new ReplicaMetrics();
  readonly #reader = new ReplicaReader(this.#metrics);
  readonly #bells: ThreadBells;
  #security: ReplicaSecurity | null = null;
  #opened: OpenedMember | null = null;
  #replica: Replica | null = null;
  /** What it was told to begin from before its ports were open. */
  #beginning: MemberBeginning | null | undefined;
  #recovered = false;
  #stopping = false;

  constructor(data: MemberThreadData, service: SharedServiceModule, say: (message: FromMemberThread) => void) {
    this.#data = data;
    this.#service = service;
    this.#say = say;
    this.#bells = new ThreadBells(data.bells);
    const log = (level: "info" | "warn" | "error"): EventLog["info"] => {
      return (event, fields = {}) => say({ kind: "log", level, event, fields });
    };
    this.#events = { info: log("info"), warn: log("warn"), error: log("error") };
  }

  async open(): Promise<void> {
    const { self, member, directory, config, options, parts } = this.#data;
    const [events, scheduler] = [this.#events, this.#scheduler];
    const security = (this.#security = new ReplicaSecurity({ directory, config, self, scheduler, events }));
    const opened = await openMember({
      self,
      member,
      directory,
      config,
      service: this.#service,
      options,
      parts,
      bells: this.#bells,
      security,
      metrics: this.#metrics,
      scheduler,
      events,
      onFatal: (error) => this.#say(failureOf(error, ExitCode.fatal)),
      onRecovered: () => {
        this.#recovered = true;
        this.#say({ kind: "recovered" });
      },
      onLeader: () => undefined,
      onShared: (description, checkpointThrough) =>
        this.#say({ kind: "shared", beginning: { description, checkpointThrough } }),
      onRestart: (reason) => this.#say({ kind: "restart", reason }),
    });
    if (this.#stopping) return opened.close(() => this.#end());
    this.#opened = opened;
    if (this.#beginning !== undefined) this.#replica = opened.begin(this.#beginning);
  }

  handle(message: ToMemberThread): void {
    switch (message.kind) {
      case "begin":
        this.#beginning = message.beginning;
        if (!this.#stopping) this.#replica = this.#opened?.begin(message.beginning) ?? null;
        break;
      case "read": {
        const status = this.#replica?.status() ?? null;
        const reading = status === null ? null : this.#reader.read(status, this.#recovered);
        this.#say({ kind: "reading", serial: message.serial, reading });
        break;
      }
      case "reload":
        this.#reload();
        break;
      case "stop":
        this.#stop();
        break;
    }
  }

  #reload(): void {
    loadCluster(this.#data.directory).then(
      ({ security }) => this.#security?.reload(security),
      (error: unknown) => this.#events.error("passwords-not-reloaded", { reason: (error as Error).message }),
    );
  }

  #stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#reader.close();
    this.#security?.close();
    if (this.#replica !== null) this.#replica.stop(() => this.#end());
    else if (this.#opened !== null) this.#opened.close(() => this.#end());
    // Else its ports are just being opened, and closed as soon as they are.
  }

  #end(): void {
    this.#bells.close();
    this.#say({ kind: "stopped" });
    // What was said before is delivered; nothing else of this thread is needed any more.
    process.exit(0);
  }
}

const port = parentPort;
assert(port !== null, "this module is the main module of a member's thread");
const data = workerData as MemberThreadData;
const say = (message: FromMemberThread): void => port.postMessage(message);
try {
  // Before anything else of the host runs: what looks at the clock while a module is loaded is taken for the module's.
  const service = await serviceOf(data.config);
  const thread = new MemberThread(data, service, say);
  port.on("message", (message: ToMemberThread) => thread.handle(message));
  await thread.open();
} catch (error) {
  say(failureOf(error, ExitCode.failed));
}

function serviceOf(config: ClusterConfig): SharedServiceModule | Promise<SharedServiceModule> {
  const name = config.service;
  if (!isServiceModule(name)) return sharedServiceFor(config);
  const observer = observeService(name, {
    warn: (event, fields = {}) => say({ kind: "log", level: "warn", event, fields }),
    error: (event, fields = {}) => say({ kind: "log", level: "error", event, fields }),
  });
  return loadSharedServiceModule(name, observer);
}
