/** Commands as services read them, and states as they are restored from checkpoints. */
import { strict as assert } from "node:assert";
import { ByteWriter, hashBytes, Prng } from "#src/base/index.js";
import { createOptPsmrThread, createPipelined, createPsmrParts } from "#src/execution/index.js";
import {
  BlockKind,
  CheckpointDamagedError,
  declaredMapping,
  type Digest,
  emptyRun,
  type ExecutionModel,
  optimisticMapping,
  type Service,
  type SnapshotSink,
  type SnapshotSource,
} from "#src/model/index.js";
import {
  Btree,
  counter,
  createKv,
  definedService,
  KvOperation,
  ValueError,
  ValueReader,
  writeValue,
} from "#src/service/index.js";
import { insert, read, Script } from "../../execution/opt-psmr-script.js";
import { cutOf, planOf } from "../../execution/psmr-check.js";
import { PsmrReplica } from "../../execution/psmr-replica.js";
import { Replica } from "../../execution/replica.js";
import { writeCommand as writeBtree } from "../../service/btree-command.js";
import { definedRun } from "../../service/defined-run.js";
import { writeCommand as writeKv } from "../../service/kv-command.js";
import { bank } from "../../synod/bank.js";
import type { FuzzInput, FuzzTarget } from "../target.js";

function written(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(512);
  write(writer);
  return writer.toBytes();
}

// Values of users.

const values = [
  null,
  [1, -1, 127, 128, 255, 256, 65_536, 2 ** 40, -33, -129, -40_000, 1.5, NaN],
  { name: "ana", balance: 12, tags: ["a", "b"], nested: { deep: [{ x: undefined }] } },
  [12n, -(2n ** 63n), "ä€𝄞", new Uint8Array([1, 2, 3]), "x".repeat(300)],
];
const reader = new ValueReader();
const copy = new ByteWriter();

const value: FuzzTarget = {
  name: "value",
  what: "arguments, results and table entries of users (MessagePack)",
  corpus: values.map((each) => written((writer) => writeValue(writer, each))),
  decode: ({ bytes, view, start, end }) => {
    try {
      const found = reader.read(bytes, view, start, end);
      // What was read can be written again, and is then no longer than what it was read from, or a few bytes an item.
      copy.clear();
      writeValue(copy, found);
      assert.ok(copy.length <= 9 * (end - start));
      return true;
    } catch (error) {
      if (error instanceof ValueError) return false;
      throw error;
    }
  },
};

// Commands.

const userCode = { running: null, violation: null };

/** Executes the commands that the input consists of, cut by their own lengths as the check of a block leaves them. */
function executor(create: () => Service): Pick<FuzzTarget, "decode" | "reset"> {
  let service = create();
  const run = emptyRun();
  const replies = new ByteWriter(4096, 256 * 1024 * 1024);
  const digest: Digest = new Uint32Array(4);
  return {
    reset: () => {
      service = create();
    },
    decode: ({ bytes, view, start, end, prng }) => {
      run.count = 0;
      for (let at = start; end - at >= 4 && run.count < 64;) {
        const length = view.getUint32(at, true);
        if (length < 4 || length > end - at) break;
        run.offsets[run.count++] = at;
        at += length;
      }
      if (run.count === 0) return false;
      run.bytes = bytes;
      run.view = view;
      run.time = 1_700_000_000_000 + prng.below(1000);
      run.seed = prng.u32();
      run.readOnly = prng.chance(0.2);
      run.answered = run.count;
      replies.clear();
      service.execute(run, replies, null);
      let at = 0;
      let count = 0;
      for (; at + 4 <= replies.length; count++) at += replies.view.getUint32(at, true);
      assert.ok(at === replies.length && count === run.answered, "not one reply to each command");
      service.advance(run.time, null);
      service.digest(digest);
      return true;
    },
  };
}

const kvCorpus = [
  [{ operation: KvOperation.set, args: ["key", "value"] }],
  Object.values(KvOperation)
    .slice(0, 24)
    .map((operation) => ({ operation, args: ["key", "12"] })),
  Object.values(KvOperation).map((operation) => ({ operation, args: ["a"] })),
  Object.values(KvOperation).map((operation) => ({ operation, flags: 1, args: ["a", "b", "3", "4"] })),
].map((commands) => written((writer) => commands.forEach((command) => writeKv(writer, command))));

/** A state with watches in it. */
const watched = written((writer) => {
  for (const key of ["a", "b", "c"]) writeKv(writer, { operation: KvOperation.watch, args: ["", key] });
});

const kvCommand: FuzzTarget = {
  name: "kv-command",
  what: "commands of the kv service, executed",
  corpus: kvCorpus,
  ...executor(() => createKv()),
};

const btreeCorpus = [
  written((writer) => {
    writeBtree(writer, { operation: "insert", key: 5n, value: 6n });
    writeBtree(writer, { operation: "update", key: 5n, value: 7n });
    writeBtree(writer, { operation: "read", key: 5n });
    writeBtree(writer, { operation: "range", key: 1n, last: 9n, pairs: 10 });
    writeBtree(writer, { operation: "delete", key: 5n });
  }),
  written((writer) => {
    for (let key = 0n; key < 40n; key++) writeBtree(writer, { operation: "insert", key: key << 30n, value: key });
  }),
];

const btreeCommand: FuzzTarget = {
  name: "btree-command",
  what: "commands of the btree service, executed",
  corpus: btreeCorpus,
  ...executor(() => new Btree()),
};

const userCorpus = [
  written((writer) => {
    const run = definedRun([
      ["deposit", { to: "ana", amount: 5 }],
      ["transfer", { from: "ana", to: "bob", amount: 2 }],
      ["balance", { of: "bob" }],
      ["total"],
      ["moment"],
    ]);
    writer.copy(run.bytes, run.offsets[0] as number, run.bytes.length);
  }),
];

const userCommand: FuzzTarget = {
  name: "user-command",
  what: "commands of a user-defined service, executed",
  corpus: userCorpus,
  ...executor(() => definedService(bank, userCode).create()),
};

// States.

function bytesOf(source: SnapshotSource): Uint8Array {
  const writer = new ByteWriter(4096);
  while (source.next(writer, 512));
  source.close();
  return writer.toBytes();
}

/** Gives the input to the sink in pieces; what was restored must be whole: it has a digest, a size and a snapshot. */
function restorer(sink: () => SnapshotSink, check: () => void): FuzzTarget["decode"] {
  return ({ bytes, start, end, prng }: FuzzInput) => {
    try {
      const into = sink();
      for (let at = start; at < end;) {
        const next = prng.chance(0.3) ? end : Math.min(end, at + 1 + prng.below(200));
        into.write(bytes, at, next);
        at = next;
      }
      into.finish();
    } catch (error) {
      if (error instanceof CheckpointDamagedError) return false;
      throw error;
    }
    check();
    return true;
  };
}

/** A state of the service after the commands of the corpus, and an empty one. */
function snapshots(create: () => Service, corpus: readonly Uint8Array[]): Uint8Array[] {
  const service = create();
  const found = [bytesOf(service.snapshot())];
  const { decode } = executor(() => service);
  for (const bytes of corpus) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const prng = { chance: () => false, below: () => 0, u32: () => 1 } as unknown as FuzzInput["prng"];
    void decode({ bytes, view, start: 0, end: bytes.length, prng });
    found.push(bytesOf(service.snapshot()));
  }
  return found.filter((bytes) => bytes.length <= 16 * 1024);
}

/** The hash of the watches in front of the entries of the kv service. */
function sealKv(bytes: Uint8Array, view: DataView, start: number, end: number): void {
  const stop = end - start < 16 ? Infinity : start + 16 + view.getUint32(start + 8, true);
  if (stop <= end) view.setUint32(start + 12, hashBytes(bytes, start + 16, stop, 0x3a7c), true);
}

function stateTarget(
  name: string,
  create: () => Service,
  corpus: readonly Uint8Array[],
  seal?: FuzzTarget["seal"],
): FuzzTarget {
  let service = create();
  const digest: Digest = new Uint32Array(4);
  return {
    name: `${name}-state`,
    what: `snapshots of the ${name} service`,
    corpus: snapshots(create, corpus),
    ...(seal === undefined ? {} : { seal }),
    reset: () => {
      service = create();
    },
    decode: restorer(
      () => service.restore(),
      () => {
        service.digest(digest);
        const { entries, bytes } = service.size();
        assert.ok(entries >= 0 && bytes >= 0);
        bytesOf(service.snapshot());
      },
    ),
  };
}

function replicated(): Uint8Array[] {
  const replica = new Replica(createPipelined(createKv()));
  const found = [bytesOf(replica.model.snapshot())];
  const session = replica.open(1_700_000_000_000);
  const other = replica.open(1_700_000_000_001);
  for (let sequence = 1; sequence < 4; sequence++) {
    for (const each of [session, other]) {
      replica.run(1_700_000_000_000 + sequence, [
        {
          kind: BlockKind.commands,
          session: each,
          sequence,
          acknowledged: 0,
          commands: [{ operation: KvOperation.set, args: [`k${each}`, `v${sequence}`] }],
        },
      ]);
    }
    found.push(bytesOf(replica.model.snapshot()));
  }
  return found;
}

function replicatedTarget(): FuzzTarget {
  let model: ExecutionModel = createPipelined(createKv());
  const digest: Digest = new Uint32Array(4);
  return {
    name: "replicated-state",
    what: "checkpoints of the whole replicated state: sessions, remembered replies, service",
    corpus: replicated(),
    reset: () => {
      model = createPipelined(createKv());
    },
    decode: restorer(
      () => model.restore(model.inspect().executed + 1),
      () => {
        model.digest(digest);
        assert.ok(model.inspect().sessions >= 0);
        bytesOf(model.snapshot());
      },
    ),
  };
}

/** The part of thread 1 of 3 in a checkpoint of P-SMR, or of opt-PSMR, which has failed commands as well. */
function psmrTarget(): FuzzTarget {
  const parts = createPsmrParts(3);
  const { options } = planOf(1, { threads: 3 });
  const service = new Btree(options);
  const [conservative, optimistic] = [declaredMapping(service, 3), optimisticMapping(service, 3)];
  const make = (): ReturnType<typeof createOptPsmrThread> =>
    createOptPsmrThread(parts, 1, service, { conservative, optimistic });
  let thread = make();
  return {
    name: "psmr-part",
    what: "the part of a thread of P-SMR or opt-PSMR in a checkpoint: positions, sessions of two streams, failed commands",
    corpus: [
      ...[4, 7].map((seed) => {
        const plan = planOf(seed, { threads: 3, all: 6, own: 6, preload: 0 });
        return cutOf(new PsmrReplica(plan), new Prng(seed)).parts[1] as Uint8Array;
      }),
      failedPart(),
    ],
    decode: restorer(
      () => (thread = make()).restore(),
      () => {
        const { executed, executedAll, sessions } = thread.inspect();
        assert.ok(executed >= 0 && executedAll >= 0 && sessions >= 0);
        thread.queues((queue, value, maximum) => assert.ok(value <= maximum, queue));
      },
    ),
  };
}

/** One with pending commands and late replies in it. */
function failedPart(): Uint8Array {
  const script = new Script(3);
  script.order(2, script.block(2, 1, [insert(150, 1), read(150), insert(160, 2)]));
  script.order(0, script.copy(2, 1, [insert(150, 1)]));
  script.order(2, script.block(2, 4, [insert(170, 1)], { strict: true }));
  script.replica.threads[0]?.requestCut();
  script.order(0, script.control(BlockKind.digest, 0));
  return bytesOf(script.replica.cuts[1]?.[0]?.part as SnapshotSource);
}

export function stateTargets(): readonly FuzzTarget[] {
  return [
    value,
    kvCommand,
    btreeCommand,
    userCommand,
    stateTarget("kv", () => createKv(), [...kvCorpus.slice(0, 2), watched], sealKv),
    stateTarget("btree", () => new Btree(), btreeCorpus),
    stateTarget("counter", () => counter.create(), []),
    stateTarget("user", () => definedService(bank, userCode).create(), userCorpus),
    replicatedTarget(),
    psmrTarget(),
  ];
}
