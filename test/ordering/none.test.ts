import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import {
  type Batch,
  BatchArena,
  batchTime,
  type EffectSink,
  type Instance,
  type Protocol,
  type ProtocolEvent,
} from "#src/model/index.js";
import { none, type NoneRecord } from "#src/ordering/none/index.js";

const LIMITS = { windowInstancesMax: 4, windowBytesMax: 4096, logBytesMax: 100_000, logInstancesMax: 20 };

/** A server with a disk that keeps what is synced, and time that passes by one ms an event. */
class Server {
  readonly synced: Uint8Array[] = [];
  decided: string[] = [];
  trimmed: Instance = 0;
  refused = 0;
  protocol!: Protocol<never, never, NoneRecord>;
  arena!: BatchArena;
  now = 0;
  #writing: { token: number; bytes: Uint8Array }[] = [];
  readonly #sink: EffectSink<never, never, NoneRecord> = {
    send: unexpected,
    wakeAt: unexpected,
    reveal: unexpected,
    revoke: unexpected,
    fetchState: unexpected,
    asideHeard: unexpected,
    reply: unexpected,
    readable: unexpected,
    trace: () => undefined,
    persist: (token, record) => this.persist(token, record),
    decide: (instance, batch) => this.decide(instance, batch),
    refuse: (batch) => this.refuse(batch as Batch),
    trim: (through) => (this.trimmed = through),
  };

  start(checkpointThrough = 0, amnesiaNonce = 0): void {
    this.arena = new BatchArena(4096);
    this.protocol = none.create({ self: 1, replicas: [1], arena: this.arena, seed: 1 }, LIMITS);
    this.#writing = [];
    this.decided = [];
    const records = this.synced.map((bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const record = none.codec.decodeRecord(bytes, view, 0, bytes.length, this.arena, checkpointThrough);
      assert.ok(record !== null);
      return record;
    });
    const wallMs = 1000;
    this.step({ kind: "start", now: ++this.now, recovered: { records, checkpointThrough, amnesiaNonce, wallMs } });
  }

  step(event: ProtocolEvent<never, NoneRecord>): void {
    this.protocol.step(event, this.#sink);
  }

  propose(): void {
    this.step({ kind: "propose", now: ++this.now, batch: this.arena.empty(0) });
  }

  /** The oldest write becomes durable. */
  sync(): void {
    const next = this.#writing.shift();
    if (next === undefined) return;
    this.synced.push(next.bytes);
    this.step({ kind: "persisted", now: ++this.now, token: next.token });
  }

  persist(token: number, record: NoneRecord): void {
    const writer = new ByteWriter();
    none.codec.encodeRecord(record, writer);
    this.#writing.push({ token, bytes: writer.toBytes() });
  }

  decide(instance: Instance, batch: Batch): void {
    assert.equal(instance, this.protocol.inspect().decided, "in order");
    this.decided.push(`${instance} at ${batchTime(batch.view, batch.start)}`);
  }

  refuse(batch: Batch): void {
    this.refused++;
    this.arena.release(batch);
  }
}

function unexpected(): never {
  assert.fail("a server that is not replicated asked for what only replicas need");
}

describe("a server that is not replicated", () => {
  test("decides what is durable, in order, and nothing that is not; after a crash that very sequence again", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("propose", "propose", "sync", "sync", "crash"), { maxLength: 60 }),
        (script) => {
          const server = new Server();
          server.start();
          let known: string[] = [];
          for (const action of script) {
            const { proposable } = server.protocol.inspect();
            const refused = server.refused;
            if (action === "propose") server.propose();
            else if (action === "sync") server.sync();
            else {
              server.start();
              assert.deepEqual(server.decided, known);
            }
            if (action === "propose") assert.equal(server.refused > refused, !proposable);
            assert.equal(server.decided.length, server.synced.length);
            assert.deepEqual(server.decided.slice(0, known.length), known);
            known = [...server.decided];
            const times = known.map((each) => Number(each.split(" ")[2]));
            assert.deepEqual(
              times,
              times.toSorted((one, other) => one - other),
              "agreed time does not go back",
            );
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("a full log takes nothing until a checkpoint covers it", () => {
    const server = new Server();
    server.start();
    while (server.protocol.inspect().logFill < 1) {
      server.propose();
      server.sync();
    }
    server.propose();
    assert.equal(server.refused, 1);
    server.step({ kind: "executed", now: ++server.now, through: 20, speculative: false, replies: null });
    server.step({ kind: "checkpointed", now: ++server.now, through: 15, digest: "" });
    assert.equal(server.trimmed, 15);
    server.propose();
    assert.equal(server.refused, 1);
  });

  test("goes on behind a checkpoint", () => {
    const server = new Server();
    server.start();
    for (let i = 0; i < 5; i++) {
      server.propose();
      server.sync();
    }
    const whole = [...server.decided];
    server.start(3);
    assert.deepEqual(server.decided, whole.slice(3));
  });

  test("takes nothing when it may have lost records: nobody could tell it what they said", () => {
    for (const lose of [
      (server: Server) => server.start(0, 77),
      (server: Server) => {
        server.synced.splice(0, 2);
        server.start();
      },
    ]) {
      const server = new Server();
      server.start();
      for (let i = 0; i < 5; i++) {
        server.propose();
        server.sync();
      }
      lose(server);
      assert.deepEqual(server.decided, []);
      assert.equal(server.protocol.inspect().role, "recovering");
      assert.equal(server.protocol.inspect().readable, false);
      server.propose();
      assert.equal(server.refused, 1);
    }
  });

  test("records of any bytes are refused or read, and never more than there is", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        const record = none.codec.decodeRecord(bytes, view, 0, bytes.length, new BatchArena(4096), 0);
        assert.ok(record === null || record.instance >= 1);
      }),
      { numRuns: 500 },
    );
  });
});
