import { setTimeout } from "node:timers/promises";
import { type ClusterConfig, majority, type ReplicaId } from "../model/index.js";
import type { ClientSecurity, Supervisor } from "../runtime/index.js";
import { checkHistory } from "../sim/index.js";
import { digestsEqual, standingOf } from "./cluster-status.js";
import { messageOf } from "./exit.js";
import { HistoryLoad } from "./history-load.js";
import { killDrill } from "./kill-drill.js";
import { grouped, type Output, painted } from "./output.js";

/** Longest wait for the load's end and its keys' removal before the cluster stops. */
const CLOSE_MS_MAX = 1000;

/** What a person at the terminal can do to a running cluster, one key each. */
class Console {
  readonly #config: ClusterConfig;
  readonly #supervisor: Supervisor;
  readonly #output: Output;
  readonly #security: ClientSecurity;
  #load: HistoryLoad | null = null;
  /** One action at a time: keys pressed meanwhile are dropped. */
  #busy = false;
  /** The replica that a drill kills: the drill itself tells of its death and of the new leader. 0 outside a drill. */
  drilled: ReplicaId = 0;

  constructor(config: ClusterConfig, supervisor: Supervisor, output: Output, security: ClientSecurity) {
    this.#config = config;
    this.#supervisor = supervisor;
    this.#output = output;
    this.#security = security;
  }

  get actions(): ReadonlyMap<string, () => Promise<void> | void> {
    const resp = this.#respAddresses.length > 0;
    return new Map<string, () => Promise<void> | void>([
      ...(resp ? ([["k", () => this.#killLeader()]] as const) : []),
      ["r", () => this.#restart()],
      ["p", () => this.#pause()],
      ...(resp ? ([["l", () => this.#toggleLoad()]] as const) : []),
      ["c", () => this.#check()],
    ]);
  }

  async press(key: string): Promise<void> {
    const action = this.actions.get(key);
    if (action === undefined || this.#busy) return;
    this.#busy = true;
    try {
      await action();
    } catch (error) {
      this.#bad(messageOf(error));
    } finally {
      this.#busy = false;
    }
  }

  get #respAddresses(): string[] {
    return this.#config.replicas.flatMap((replica) => (replica.resp === null ? [] : [replica.resp]));
  }

  #living(): ReplicaId[] {
    const { replicas } = this.#supervisor;
    return replicas.filter((replica) => replica.alive && !replica.paused).map((replica) => replica.address.id);
  }

  async #killLeader(): Promise<void> {
    const leader = this.#supervisor.leader;
    const living = this.#living();
    if (!living.includes(leader)) return this.#bad("no leader is known to be alive");
    const needed = majority(this.#config.replicas.length);
    if (living.length - 1 < needed) {
      return this.#bad(`killing r${leader} would leave ${living.length - 1} of the ${needed} that a quorum needs`);
    }
    const witness = this.#supervisor.replicas.find((each) => each.address.id !== leader && each.ready && !each.paused);
    const address = witness?.address.resp ?? null;
    if (address === null) return this.#bad("no other replica is ready");
    this.drilled = leader;
    const result = await killDrill(address, this.#security, () => this.#supervisor.kill(leader)).finally(
      () => (this.drilled = 0),
    );
    if (result.outageMs === null) return this.#bad(`r${leader} killed, and no write succeeded since`);
    const next = this.#supervisor.leader;
    const lost = result.lost === 0 ? "0 acknowledged writes lost" : `${result.lost} ACKNOWLEDGED WRITES LOST`;
    const who = next === leader ? "another leads" : `r${next} leads`;
    const mark = painted(this.#output, "red", "✖");
    this.#output.line(
      `${mark} r${leader} killed → ${who} after ${Math.round(result.outageMs)} ms · ${lost} (of ${grouped(result.acknowledged)})`,
    );
  }

  #restart(): void {
    const dead = this.#supervisor.replicas.filter((replica) => !replica.alive);
    if (dead.length === 0) return this.#output.line("  none is dead");
    for (const { address } of dead) this.#supervisor.start(address.id);
    this.#output.line(`  restarting ${dead.map(({ address }) => `r${address.id}`).join(", ")}`);
  }

  #pause(): void {
    const paused = this.#supervisor.replicas.find((replica) => replica.paused);
    if (paused !== undefined) {
      this.#supervisor.resume(paused.address.id);
      return this.#output.line(`  r${paused.address.id} goes on`);
    }
    const follower = this.#living().find((id) => id !== this.#supervisor.leader);
    if (follower === undefined) return this.#bad("no follower is alive");
    this.#supervisor.pause(follower);
    this.#output.line(`  r${follower} is paused; [p] lets it go on`);
  }

  async #toggleLoad(): Promise<void> {
    if (this.#load?.running === true) {
      await this.#load.stop();
      return this.#output.line(`  load off after ${grouped(this.#load.operations.length)} operations; [c] checks them`);
    }
    await this.#load?.clear();
    this.#load = new HistoryLoad(this.#respAddresses, this.#security);
    this.#load.start();
    this.#output.line(`  load on: ${this.#load.keys} keys through all replicas`);
  }

  /** The history so far must be linearizable and the states of all replicas equal. The load pauses meanwhile. */
  async #check(): Promise<void> {
    const load = this.#load;
    const wasRunning = load?.running === true;
    await load?.stop();
    const standing = await standingOf(this.#config.replicas, () => null, this.#security);
    const up = standing.replicas.filter((replica) => replica.role !== "down").length;
    const states = digestsEqual(standing)
      ? `state digests equal on ${up}/${standing.replicas.length}`
      : "STATE DIGESTS DIFFER OR ARE MISSING";
    if (load === null) {
      this.#output.line(`${painted(this.#output, "green", "✔")} ${states} · no load was recorded; [l] starts one`);
      return;
    }
    const verdict = checkHistory(load.operations);
    const good = verdict.verdict === "linearizable" && digestsEqual(standing);
    this.#output.line(
      `${good ? painted(this.#output, "green", "✔") : painted(this.#output, "red", "✖")} ${verdict.verdict}: ` +
        `${grouped(load.operations.length)} operations, ${load.keys} keys · ${states}`,
    );
    if (wasRunning) load.start();
  }

  /** Before the cluster stops: the store is left as the load found it, unless that takes too long. */
  async close(): Promise<void> {
    const load = this.#load;
    this.#load = null;
    if (load === null) return;
    await Promise.race([load.stop().then(() => load.clear()), setTimeout(CLOSE_MS_MAX, undefined, { ref: false })]);
  }

  #bad(text: string): void {
    this.#output.line(`${painted(this.#output, "red", "✖")} ${text}`);
  }
}

/** The keys of a terminal, while they are listened to. */
export interface Keyboard {
  /** The replica whose death, and whose successor, a key's action tells of by itself; 0 for none. */
  readonly drilled: ReplicaId;
  /** Listens no more, and resolves when what the keys had begun is cleared up. */
  close(): Promise<void>;
}

/** Reads keys from the terminal. */
export function startKeyboard(
  config: ClusterConfig,
  supervisor: Supervisor,
  output: Output,
  quit: () => void,
  security: ClientSecurity,
): Keyboard {
  const desk = new Console(config, supervisor, output, security);
  const names = new Map([
    ["k", "[k]ill leader"],
    ["r", "[r]estart"],
    ["p", "[p]ause follower"],
    ["l", "[l]oad"],
    ["c", "[c]heck"],
  ]);
  output.line(`  ${[...[...desk.actions.keys()].map((key) => names.get(key)), "[q]uit"].join("  ")}`);
  const { stdin } = process;
  const onData = (text: string): void => {
    for (const key of text) {
      // In raw mode the terminal sends no signals of its own.
      if (key === "\u0003") process.kill(process.pid, "SIGINT");
      else if (key === "q") quit();
      else void desk.press(key);
    }
  };
  stdin.setRawMode(true);
  stdin.setEncoding("utf8");
  stdin.on("data", onData);
  stdin.resume();
  return {
    get drilled() {
      return desk.drilled;
    },
    close() {
      // Cooked mode first: from here on Ctrl-C is a signal again, and so a second one ends the wait.
      stdin.setRawMode(false);
      stdin.off("data", onData);
      stdin.pause();
      return desk.close();
    },
  };
}
