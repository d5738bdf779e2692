import type { Prng } from "../../base/index.js";
import type { ReplicaId } from "../../model/index.js";
import { SIM_LINK_DEFAULTS, type SimNetwork } from "../../platform/index.js";
import type { SimMachine, SimWorld } from "../world/index.js";

/** One direction between two hosts. */
type Direction = readonly [from: string, to: string];
type Blockage = "cut" | "clog";

const hostOf = (replica: SimMachine | { readonly id: ReplicaId }): string => `r${replica.id}`;

/**
 * What strikes links: cuts and clogs of all shapes, and resets. Two strikes may block the same direction, which is free again
 * when both are over. Each method draws from the generator it is given, and says whether there was anything to strike.
 */
export class LinkFaults {
  readonly #world: SimWorld;
  /** By kind and direction: strikes that block it now. */
  readonly #blocked = new Map<string, number>();
  /** Rises when everything is healed: strikes before that have nothing left to mend. */
  #epoch = 0;

  constructor(world: SimWorld) {
    this.#world = world;
  }

  /** Frees all links, which from now on are what real ones are in calm: streams that keep their order. */
  heal(): void {
    this.#epoch++;
    this.#blocked.clear();
    for (const network of this.#world.networks) {
      network.heal();
      network.setAll(SIM_LINK_DEFAULTS);
    }
  }

  /** Breaks the connections between a replica and another, or a client. */
  reset(prng: Prng): boolean {
    const { replicas } = this.#world;
    const a = prng.pick(replicas);
    const others = [...replicas.filter((other) => other !== a).map(hostOf), ...this.#clientHosts()];
    const resets = (): number => this.#world.networks.reduce((sum, { counts }) => sum + counts.resets, 0);
    const before = resets();
    const other = prng.pick(others);
    for (const network of this.#struck(prng)) network.reset(hostOf(a), other);
    return resets() > before;
  }

  /** Two groups of replicas don't reach each other; clients may be on one side only. */
  partition(prng: Prng): boolean {
    return this.#block(
      "cut",
      this.#between(prng, () => true),
      prng,
    );
  }

  /** One of two groups of replicas does not hear the other, or one replica does not hear one other. */
  oneWay(prng: Prng, victim: SimMachine): boolean {
    if (!prng.chance(0.3))
      return this.#block(
        "cut",
        this.#between(prng, (left) => left),
        prng,
      );
    const other = this.#otherThan(victim, prng);
    if (other === null) return false;
    const [from, to] = prng.chance(0.5) ? [victim, other] : [other, victim];
    return this.#block("cut", [[hostOf(from), hostOf(to)]], prng);
  }

  /** Two replicas don't reach each other. Only where there is a third that reaches both. */
  partial(prng: Prng, victim: SimMachine): boolean {
    const other = this.#otherThan(victim, prng);
    if (other === null || this.#world.replicas.length < 3) return false;
    return this.#block("cut", bothWays(hostOf(victim), hostOf(other)), prng);
  }

  /** The leader is cut off from the other replicas, in both directions or one. */
  isolate(prng: Prng): boolean {
    const streams = this.#world.networks.length;
    const leader = this.#world.leader(streams === 1 ? 0 : prng.below(streams));
    if (leader === null) return false;
    const direction = prng.below(3);
    const cuts: Direction[] = [];
    for (const other of this.#world.replicas) {
      if (other === leader) continue;
      if (direction !== 1) cuts.push([hostOf(leader), hostOf(other)]);
      if (direction !== 2) cuts.push([hostOf(other), hostOf(leader)]);
    }
    return this.#block("cut", cuts, prng);
  }

  /** One direction between two replicas, or all that a replica sends or gets, or what a client and a replica exchange. */
  clog(prng: Prng, victim: SimMachine): boolean {
    const { replicas } = this.#world;
    const host = hostOf(victim);
    const others = replicas.filter((other) => other !== victim).map(hostOf);
    const clients = this.#clientHosts();
    switch (prng.below(3)) {
      case 0: {
        if (others.length === 0) return false;
        const other = prng.pick(others);
        return this.#block("clog", [prng.chance(0.5) ? [host, other] : [other, host]], prng);
      }
      case 1: {
        const sends = prng.chance(0.5);
        const peers = [...others, ...clients];
        return this.#block(
          "clog",
          peers.map((peer): Direction => (sends ? [host, peer] : [peer, host])),
          prng,
        );
      }
      default:
        if (clients.length === 0) return false;
        return this.#block("clog", bothWays(host, prng.pick(clients)), prng);
    }
  }

  /** The directions from one side to the other that `crosses` takes, given whether they lead away from the left. */
  #between(prng: Prng, crosses: (left: boolean) => boolean): Direction[] {
    const sides = new Map(this.#world.replicas.map((replica) => [hostOf(replica), prng.chance(0.5)]));
    if (prng.chance(0.5)) for (const client of this.#clientHosts()) sides.set(client, prng.chance(0.5));
    const found: Direction[] = [];
    for (const [a, left] of sides) {
      for (const [b, right] of sides) if (left !== right && crosses(left)) found.push([a, b]);
    }
    return found;
  }

  /** All links between hosts, or those of one member of each replica, which are connections of their own. */
  #struck(prng: Prng): readonly SimNetwork[] {
    const { networks } = this.#world;
    return networks.length === 1 || prng.chance(0.5) ? networks : [prng.pick(networks)];
  }

  #block(kind: Blockage, directions: readonly Direction[], prng: Prng): boolean {
    if (directions.length === 0) return false;
    const { networks, kernel } = this.#world;
    const struck = this.#struck(prng);
    for (const network of struck) {
      for (const [from, to] of directions) {
        const name = `${networks.indexOf(network)} ${kind} ${from}>${to}`;
        this.#blocked.set(name, (this.#blocked.get(name) ?? 0) + 1);
        if (kind === "cut") network.cut(from, to);
        else network.clog(from, to);
      }
    }
    const links = struck.length === networks.length ? "" : `of member ${networks.indexOf(struck[0] as SimNetwork)} `;
    this.#world.note("nemesis", `${kind} ${links}${directions.map((direction) => direction.join(">")).join(" ")}`);
    const epoch = this.#epoch;
    kernel.after(prng.between(50, 3000), () => {
      if (epoch !== this.#epoch) return;
      for (const network of struck) for (const direction of directions) this.#free(network, kind, direction);
    });
    return true;
  }

  #free(network: SimNetwork, kind: Blockage, [from, to]: Direction): void {
    const name = `${this.#world.networks.indexOf(network)} ${kind} ${from}>${to}`;
    const left = (this.#blocked.get(name) ?? 1) - 1;
    if (left > 0) return void this.#blocked.set(name, left);
    this.#blocked.delete(name);
    if (kind === "cut") network.healLink(from, to);
    else network.unclog(from, to);
  }

  #otherThan(victim: SimMachine, prng: Prng): SimMachine | null {
    const others = this.#world.replicas.filter((replica) => replica !== victim);
    return others.length === 0 ? null : prng.pick(others);
  }

  #clientHosts(): string[] {
    return Array.from({ length: this.#world.scenario.workload.clients }, (_, index) => `c${index + 1}`);
  }
}

function bothWays(a: string, b: string): Direction[] {
  return [
    [a, b],
    [b, a],
  ];
}
