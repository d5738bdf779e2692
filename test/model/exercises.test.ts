/** The two exercises that prove the interfaces of src/model/protocol.ts, driven by a host that a test controls. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, Prng } from "#src/base/index.js";
import {
  type Batch,
  BatchArena,
  batchTime,
  beginBlock,
  beginReply,
  BlockKind,
  checkReply,
  endBlock,
  endReply,
  type EffectSink,
  type HeldSend,
  type Instance,
  type Protocol,
  type ProtocolEvent,
  type ReplicaId,
  ReplyStatus,
  replySequence,
  type Span,
} from "#src/model/index.js";
import { PbftCsPrimary, type PbftMessage, type PbftRecord, type PbftSink } from "./exercises/pbft-cs-early-reply.js";
import { type Decision, type Phase2, type RingSink, UnicastRing, type Vote } from "./exercises/unicast-ring.js";

/** What a protocol asked for, kept until the test lets it happen. */
class Host<Free, Held, Record> implements EffectSink<Free, Held, Record> {
  readonly sent: { to: ReplicaId; message: Free | Held }[] = [];
  readonly unsynced: { token: number; record: Record; held: readonly HeldSend<Free | Held>[] }[] = [];
  readonly decided: { instance: Instance; text: string }[] = [];
  readonly revealed: { instance: Instance; batch: Batch }[] = [];
  readonly replies: number[] = [];
  readonly refused: unknown[] = [];
  readonly #protocol: Protocol<Free, Held, Record>;

  constructor(protocol: Protocol<Free, Held, Record>) {
    this.#protocol = protocol;
    this.step({
      kind: "start",
      now: 5,
      recovered: { records: [], checkpointThrough: 0, amnesiaNonce: 0, wallMs: 1005 },
    });
  }

  step(event: ProtocolEvent<Free | Held, Record>): void {
    this.#protocol.step(event, this);
  }

  get proposable(): boolean {
    return this.#protocol.inspect().proposable;
  }

  /** The disk confirms the oldest writes; what waited for them leaves, then the protocol hears of it. */
  sync(count = 1): void {
    const synced = this.unsynced.splice(0, count);
    for (const { held } of synced) this.sent.push(...held);
    const token = synced.at(-1)?.token;
    if (token !== undefined) this.step({ kind: "persisted", now: 9, token });
  }

  send(to: ReplicaId, message: Free): void {
    this.sent.push({ to, message });
  }
  persist(token: number, record: Record, held: readonly HeldSend<Free | Held>[]): void {
    assert.equal(token, (this.unsynced.at(-1)?.token ?? token - 1) + 1, "tokens rise by one");
    this.unsynced.push({ token, record, held });
  }
  decide(instance: Instance, batch: Batch): void {
    this.decided.push({ instance, text: textOf(batch) });
  }
  reveal(instance: Instance, batch: Batch): void {
    this.revealed.push({ instance, batch });
  }
  reply(span: Span): void {
    assert.equal(checkReply(span.view, span.start, span.end), span.end - span.start);
    this.replies.push(replySequence(span.view, span.start));
  }
  refuse(what: Batch | number): void {
    this.refused.push(what);
  }
  wakeAt(): void {}
  revoke(): void {}
  readable(): void {}
  fetchState(): void {}
  trim(): void {}
  asideHeard(): void {}
  trace(): void {}
}

/** A batch of one command that says `text`. */
function batchOf(arena: BatchArena, text: string): Batch {
  const writer = new ByteWriter(64);
  const at = beginBlock(writer, BlockKind.commands, 4096, 1, 0);
  writer.u32(4 + text.length);
  writer.latin1(text);
  endBlock(writer, at, 1);
  return arena.build(writer.bytes, at, writer.length, 1, 1, 0);
}

/** The command's text and the agreed time of a batch. */
function textOf({ bytes, view, start, end }: Span): string {
  return `${Buffer.from(bytes.subarray(start + 24 + 40 + 4, end)).toString("latin1")}@${batchTime(view, start)}`;
}

/** What goes over a link: its bytes are copied, as the network does, and gone after `step`. */
function carried<M extends Phase2 | Decision>(message: M): { message: M; wipe: () => void } {
  const { batch } = message;
  if (batch === null) return { message, wipe: () => undefined };
  const bytes = batch.bytes.slice(batch.start, batch.end);
  const copy: Span = { bytes, view: new DataView(bytes.buffer), start: 0, end: bytes.length };
  return { message: { ...message, batch: copy }, wipe: () => bytes.fill(0xff) };
}

const nothing: Span = { bytes: new Uint8Array(0), view: new DataView(new ArrayBuffer(0)), start: 0, end: 0 };

/** Replicas 1 to `size` in a ring over first-in first-out links. */
class RingGroup {
  readonly arenas: BatchArena[] = [];
  readonly hosts: Host<Decision, Phase2, Vote>[] = [];
  readonly links: (Phase2 | Decision)[][] = [];
  /** How often the value of an instance crossed a link: "from instance". */
  readonly crossings = new Map<string, number>();

  constructor(size: number) {
    const replicas = Array.from({ length: size }, (_, index) => index + 1);
    for (const self of replicas) {
      const arena = new BatchArena();
      this.arenas.push(arena);
      this.hosts.push(new Host(new UnicastRing({ self, replicas, arena, seed: 1 })));
      this.links.push([]);
    }
  }

  host(replica: ReplicaId): Host<Decision, Phase2, Vote> {
    return this.hosts[replica - 1] as Host<Decision, Phase2, Vote>;
  }

  propose(text: string): void {
    const batch = batchOf(this.arenas[0] as BatchArena, text);
    this.host(1).step({ kind: "propose", now: 7, batch });
    this.collect();
  }

  /** Puts what hosts have sent on the links. */
  collect(): void {
    for (const [index, { sent }] of this.hosts.entries()) {
      for (const { to, message } of sent.splice(0)) {
        assert.equal(to, ((index + 1) % this.hosts.length) + 1, "everything goes to the successor");
        (this.links[index] as (Phase2 | Decision)[]).push(message);
        if (message.batch === null) continue;
        const name = `${index + 1} ${message.instance}`;
        this.crossings.set(name, (this.crossings.get(name) ?? 0) + 1);
      }
    }
  }

  sync(replica: ReplicaId): void {
    this.host(replica).sync();
    this.collect();
  }

  /** Delivers the oldest message that a replica has sent. */
  deliver(from: ReplicaId): void {
    const next = (this.links[from - 1] as (Phase2 | Decision)[]).shift();
    if (next === undefined) return;
    const { message, wipe } = carried(next);
    this.host((from % this.hosts.length) + 1).step({ kind: "message", now: 8, from, message, span: nothing });
    wipe();
    this.collect();
  }

  get inFlight(): number {
    return this.links.reduce((sum, link) => sum + link.length, 0);
  }

  get quiet(): boolean {
    return this.inFlight === 0 && this.hosts.every((host) => host.unsynced.length === 0);
  }
}

describe("a unicast ring", () => {
  test("decides the same batches in the same order, each value crossing each link once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0 }), fc.integer({ min: 2, max: 5 }), (seed, size) => {
        const prng = new Prng(seed);
        const group = new RingGroup(size);
        const proposed: string[] = [];
        for (let steps = 0; steps < 100_000 && (proposed.length < 40 || !group.quiet); steps++) {
          const replica = 1 + prng.below(size);
          const what = prng.below(5);
          if (what === 0 && proposed.length < 40 && group.host(1).proposable) {
            proposed.push(`command ${proposed.length}@1007`);
            group.propose(`command ${proposed.length - 1}`);
          } else if (what < 3) group.sync(replica);
          else group.deliver(replica);
        }
        const expected = proposed.map((text, index) => ({ instance: index + 1, text }));
        assert.equal(expected.length, 40);
        for (const host of group.hosts) assert.deepEqual(host.decided, expected);
        for (const times of group.crossings.values()) assert.equal(times, 1);
        assert.equal(group.crossings.size, 40 * (size - 1));
      }),
      { numRuns: 50 },
    );
  });

  test("lets no vote leave, and decides nothing, before it is durable", () => {
    const group = new RingGroup(3);
    group.propose("a");
    assert.equal(group.inFlight, 0);
    group.sync(1);
    assert.equal(group.links[0]?.length, 1);
    group.deliver(1);
    // The second acceptor has voted, which completes the quorum; nobody may know before its disk does.
    assert.equal(group.inFlight, 0);
    assert.deepEqual(group.host(2).decided, []);
    group.sync(2);
    assert.deepEqual(group.host(2).decided, [{ instance: 1, text: "a@1007" }]);
    assert.equal(group.links[1]?.[0]?.kind, "decision");
    group.deliver(2);
    group.deliver(3);
    for (const host of group.hosts) assert.equal(host.decided.length, 1);
    assert.ok(group.quiet);
  });

  test("opens no more instances than its window", () => {
    const group = new RingGroup(3);
    let opened = 0;
    for (; group.host(1).proposable; opened++) group.propose(`command ${opened}`);
    assert.equal(opened, 16);
  });

  test("does not compile when a vote is sent without waiting for the disk", () => {
    const misuse = (out: RingSink, vote: Phase2, decision: Decision): void => {
      out.send(2, decision);
      out.persist(1, { instance: 1, ballot: 65, batch: vote.batch as Batch }, [{ to: 2, message: vote }]);
      // @ts-expect-error A vote is `Held`: it leaves inside `persist` or not at all.
      out.send(2, vote);
    };
    assert.equal(typeof misuse, "function");
  });
});

/** A primary of four replicas whose host speculates. */
class Primary {
  readonly arena = new BatchArena();
  readonly host: Host<never, PbftMessage, PbftRecord>;

  constructor() {
    const init = { self: 1, replicas: [1, 2, 3, 4], arena: this.arena, seed: 1 };
    this.host = new Host<never, PbftMessage, PbftRecord>(new PbftCsPrimary(init));
  }

  propose(text: string): void {
    this.host.step({ kind: "propose", now: 7, batch: batchOf(this.arena, text) });
  }

  /** The service has executed; its replies are valid only during the step. */
  executed(through: Instance, speculative: boolean): void {
    const writer = new ByteWriter(64);
    const at = beginReply(writer, 4096, through, ReplyStatus.ok, BlockKind.commands);
    writer.u32(4);
    endReply(writer, at, 1);
    const replies = speculative ? { bytes: writer.bytes, view: writer.view, start: at, end: writer.length } : null;
    this.host.step({ kind: "executed", now: 8, through, speculative, replies });
    writer.bytes.fill(0xff);
  }

  backup(from: ReplicaId, kind: "prepare" | "commit", instance: Instance, change = 0): void {
    const found = this.host.sent.find(({ message }) => message.kind === "pre-prepare" && message.instance === instance);
    assert.ok(found !== undefined, "a backup answers a pre-prepare that it was sent");
    const { view, digest } = found.message;
    const message: PbftMessage = { kind, view, instance, digest: digest + change };
    this.host.step({ kind: "message", now: 8, from, message, span: nothing });
  }
}

describe("a PBFT-CS primary", () => {
  test("replies early, before the decision, and normally after it", () => {
    const primary = new Primary();
    const { host } = primary;
    primary.propose("a");
    assert.deepEqual(
      host.revealed.map(({ instance, batch }) => [instance, textOf(batch)]),
      [[1, "a@1007"]],
    );
    primary.executed(1, true);
    assert.deepEqual(host.replies, [1], "the early reply waits for nobody");
    assert.deepEqual([host.sent, host.decided], [[], []]);
    host.sync();
    assert.deepEqual(
      host.sent.map(({ to }) => to),
      [2, 3, 4],
    );
    for (const from of [2, 3]) primary.backup(from, "prepare", 1);
    for (const from of [2, 3]) primary.backup(from, "commit", 1);
    assert.deepEqual(host.decided, [], "its own commit is not durable");
    assert.equal(host.sent.length, 3);
    host.sync();
    assert.deepEqual(host.decided, [{ instance: 1, text: "a@1007" }]);
    assert.deepEqual(host.replies, [1]);
    primary.executed(1, false);
    assert.deepEqual(host.replies, [1, 1]);
  });

  test("reveals in the order proposed, decides in that order too, and confirms only what is decided", () => {
    const primary = new Primary();
    const { host } = primary;
    for (const text of ["a", "b"]) primary.propose(text);
    for (const instance of [1, 2]) primary.executed(instance, true);
    host.sync(2);
    for (const kind of ["prepare", "commit"] as const) {
      for (const from of [2, 3]) primary.backup(from, kind, 2);
      host.sync();
    }
    assert.deepEqual(host.decided, []);
    for (const from of [2, 3, 4]) primary.backup(from, "prepare", 1);
    host.sync();
    for (const from of [3, 4]) primary.backup(from, "commit", 1);
    assert.deepEqual(
      host.decided.map(({ text }) => text),
      ["a@1007", "b@1007"],
    );
    primary.executed(1, false);
    assert.deepEqual(host.replies, [1, 2, 1]);
    primary.executed(2, false);
    assert.deepEqual(host.replies, [1, 2, 1, 2]);
  });

  test("counts a backup once, and none that names another digest", () => {
    const primary = new Primary();
    const { host } = primary;
    primary.propose("a");
    host.sync();
    for (let times = 0; times < 3; times++) primary.backup(2, "prepare", 1);
    primary.backup(3, "prepare", 1, 1);
    assert.equal(host.unsynced.length, 0, "one backup is no quorum");
    primary.backup(4, "prepare", 1);
    assert.equal(host.unsynced.length, 1);
  });

  test("answers no reads from its speculated state", () => {
    const { host } = new Primary();
    host.step({ kind: "read", now: 8, ticket: 3 });
    assert.deepEqual(host.refused, [3]);
  });

  test("does not compile when it sends anything that does not wait for the disk", () => {
    const misuse = (out: PbftSink, message: PbftMessage): void => {
      // @ts-expect-error Every message of PBFT is a statement, so none is `Free`.
      out.send(2, message);
    };
    assert.equal(typeof misuse, "function");
  });
});
