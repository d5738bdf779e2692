/** What replicas and clients say to each other besides blocks and the messages of the ordering. */
import { strict as assert } from "node:assert";
import { ByteWriter, encodeUtf8 } from "#src/base/index.js";
import { ConfigError, FrameKind, REPLICA_ID_MAX } from "#src/model/index.js";
import type { CheckpointStore, EventLog, FramePort } from "#src/platform/index.js";
import { welcomeAddresses } from "#src/runtime/client/replica-links.js";
import { ControlFrames } from "#src/runtime/replica/control-frames.js";
import { StateComparison } from "#src/runtime/replica/state-comparison.js";
import { StateTransfer } from "#src/runtime/replica/state-transfer.js";
import { sharedBtreeWith } from "#src/service/index.js";
import { drawScenario, readScenario, writeScenario } from "#src/sim/index.js";
import type { FuzzTarget } from "../target.js";

function written(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(256);
  write(writer);
  return writer.toBytes();
}

/** A port that takes everything and sends nothing. */
class Sink {
  readonly writer = new ByteWriter(1024, 1024 * 1024);
  begin(): ByteWriter {
    this.writer.clear();
    return this.writer;
  }
  end(): void {}
  flush(): void {}
}

const port = new Sink() as unknown as FramePort;
const silent: EventLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

// Comparison of states. The input's first byte says who sends.

const digestFrame = (asks: number, ...instances: readonly number[]): Uint8Array =>
  written((writer) => {
    writer.u8(2);
    writer.u16(2);
    writer.u16(asks);
    writer.u32(instances.length);
    for (const instance of instances) {
      writer.f64(instance);
      writer.f64(instance * 3);
      for (let i = 0; i < 4; i++) writer.u32(instance);
    }
  });

function newComparison(): StateComparison {
  return new StateComparison({
    self: 1,
    replicas: [1, 2, 3],
    peers: port,
    events: silent,
    everyCommands: 10,
    digest: (into) => into.fill(4),
    diverged: () => undefined,
  });
}
let comparison = newComparison();

const stateDigest: FuzzTarget = {
  name: "state-digest",
  what: "digests by which replicas compare their states",
  corpus: [digestFrame(0, 4), digestFrame(1, 4), digestFrame(0, 4, 5, 7), digestFrame(1, 9)],
  reset: () => {
    comparison = newComparison();
  },
  decode: ({ bytes, view, start, end, prng }) => {
    if (start === end) return false;
    const executed = prng.below(12);
    const taken = comparison.onFrame(2 + ((bytes[start] as number) & 1), view, start + 1, end, executed, executed * 3);
    comparison.executed(executed, executed * 3);
    return taken;
  },
};

// State transfer. An input is a row of frames: u8 kind less 64, u16 length, body.

const transferRow = (...frames: readonly (readonly [kind: number, body: Uint8Array])[]): Uint8Array =>
  written((writer) => {
    for (const [kind, body] of frames) {
      writer.u8(kind - FrameKind.stateRequest);
      writer.u16(body.length);
      writer.copy(body, 0, body.length);
    }
  });

const chunk = (index: number, last: boolean, bytes: number): readonly [number, Uint8Array] => [
  FrameKind.stateChunk,
  written((writer) => {
    writer.u32(1);
    writer.u32(index);
    writer.u8(last ? 1 : 0);
    writer.f64(42);
    writer.latin1("0123456789abcdef0123456789abcdef");
    for (let i = 0; i < bytes; i++) writer.u8(i);
  }),
];
const two = (transfer: number, wanted: number): Uint8Array =>
  written((writer) => {
    writer.u32(transfer);
    writer.u32(wanted);
  });
const request = written((writer) => {
  writer.u32(9);
  writer.f64(40);
});

/** Takes checkpoints as a store does, each step answered at once, and forgets them. */
const store = {
  begin: (through: number) => {
    assert.ok(Number.isSafeInteger(through) && through >= 0, `a checkpoint through ${through}`);
    let bytes = 0;
    return {
      write: (_bytes: Uint8Array, start: number, end: number, done: (error: null) => void) => {
        bytes += end - start;
        done(null);
      },
      commit: (digest: string, done: (error: null, info: object) => void) => {
        assert.match(digest, /^[0-9a-f]{32}$/);
        done(null, { through, digest, bytes });
      },
      abort: () => undefined,
    };
  },
  read: () => {
    let left = 3;
    return {
      next: (done: (error: null, bytes: Uint8Array | null) => void) =>
        done(null, left-- > 0 ? new Uint8Array(64) : null),
      close: () => undefined,
    };
  },
} as unknown as CheckpointStore;

const stateTransfer: FuzzTarget = {
  name: "state-transfer",
  what: "checkpoints on their way between replicas",
  corpus: [
    transferRow(chunk(0, false, 100), chunk(1, false, 20), chunk(2, true, 0)),
    transferRow([FrameKind.stateRequest, request], [FrameKind.stateAcknowledge, two(9, 1)], chunk(0, true, 0)),
    transferRow(chunk(0, false, 100), [FrameKind.stateRefuse, new Uint8Array([1, 0, 0, 0])]),
  ],
  decode: ({ bytes, view, start, end }) => {
    let ended = 0;
    const transfer = new StateTransfer({
      peers: port,
      store,
      latest: () => ({ through: 42, digest: "0123456789abcdef0123456789abcdef", bytes: 192 }),
      now: () => 1000,
      done: (error, from, info) => {
        assert.ok((error === null) === (info !== null) && from === 2);
        ended++;
      },
    });
    transfer.fetch(2, 40);
    let taken = false;
    for (let at = start; end - at >= 3;) {
      const kind = FrameKind.stateRequest + ((bytes[at] as number) & 3);
      const length = Math.min(view.getUint16(at + 1, true), end - at - 3);
      // A view ends with the frame, so that whoever reads beyond it throws.
      const own = new DataView(bytes.buffer, 0, at + 3 + length);
      if (!transfer.onFrame(2, kind, bytes, own, at + 3, at + 3 + length)) break;
      taken = true;
      at += 3 + length;
    }
    assert.ok(ended <= 1, "a transfer ends once");
    transfer.close();
    return taken;
  },
};

// Questions of clients in JSON. The input's first byte: a status or an admin frame.

const nonce = "00112233445566778899aabbccddeeff";
const questions = [{ want: "status" }, { want: "digest", nonce }, { want: "digestOf", nonce }, { do: "transfer" }];
const control = new ControlFrames(
  { self: 1, config: { replicas: [{ id: 1, client: "127.0.0.1:1" }] } } as unknown as ConstructorParameters<
    typeof ControlFrames
  >[0],
  {
    status: () => ({ id: 1 }) as never,
    leader: () => 1,
    order: (block) => block.length === 56,
    transferLeadership: () => undefined,
  },
);

const question: FuzzTarget = {
  name: "control",
  what: "questions about status and digests, and orders to a replica",
  corpus: questions.map((each, index) =>
    written((writer) => {
      writer.u8(index === 3 ? 1 : 0);
      const text = encodeUtf8(JSON.stringify(each));
      writer.copy(text, 0, text.length);
    }),
  ),
  tokens: ["{", "}", "[", "]", '"want"', '"nonce"', '"status"', "null", nonce, "\\u0000"],
  decode: ({ bytes, start, end }) => {
    if (start === end) return false;
    const kind = ((bytes[start] as number) & 1) === 1 ? FrameKind.admin : FrameKind.status;
    return control.onFrame(port, 1, kind, bytes, start + 1, end);
  },
};

const welcome: FuzzTarget = {
  name: "welcome",
  what: "a replica's list of addresses, as clients read it",
  corpus: [
    written((writer) => {
      writer.u32(1);
      writer.u32(2);
      writer.latin1(JSON.stringify([1, 2, 3].map((id) => ({ id, client: `127.0.0.${id}:7400` }))));
    }),
    written((writer) => {
      writer.u32(1);
      writer.u32(2);
      const members = (id: number): object[] => [1, 2].map((group) => ({ client: `127.0.0.${id}:740${group}` }));
      const list = [1, 2].map((id) => ({ id, client: `127.0.0.${id}:7400`, members: members(id) }));
      writer.latin1(JSON.stringify(list));
    }),
    written((writer) => {
      writer.u32(1);
      writer.u32(2);
      const members = [1, 2, 3].map((group) => ({ client: `127.0.0.1:740${group}` }));
      const optimistic = { resubmit: "client", bounds: ["7", "18446744073709551615"] };
      writer.latin1(JSON.stringify([{ id: 1, client: "127.0.0.1:7400", members, optimistic }]));
    }),
  ],
  tokens: [
    "{",
    "}",
    "[",
    "]",
    '"id"',
    '"client"',
    '"members"',
    "null",
    "[::1]:1",
    "localhost:70000",
    '"optimistic"',
    '"bounds"',
    '"8"',
  ],
  decode: ({ bytes, start, end }) => {
    const addresses = welcomeAddresses(bytes, start, end);
    for (const { id, members, optimistic } of addresses ?? []) {
      assert.ok(id >= 1 && id <= REPLICA_ID_MAX);
      // A client makes a mapping of them without another look.
      if (optimistic?.bounds !== undefined) sharedBtreeWith(optimistic.bounds).mapping(members?.length ?? 0);
      assert.equal(members?.length, addresses?.[0]?.members?.length);
    }
    return addresses !== null;
  },
};

// Scenarios of the simulator.

const scenario: FuzzTarget = {
  name: "scenario",
  what: "scenario files of the simulator",
  corpus: [1, 2, 3].map((seed) => {
    const drawn = drawScenario(seed === 3 ? { seed, groups: 2, execution: "opt-psmr" } : { seed });
    return encodeUtf8(writeScenario({ scenario: drawn, bug: null, expected: null, remarks: ["a remark"] }));
  }),
  tokens: [
    "\n",
    " ",
    "at ",
    "fault ",
    "seed ",
    "workload.",
    "expect ",
    "bug ",
    "#",
    "NaN",
    "replicas ",
    "groups.",
    "skips",
  ],
  decode: ({ bytes, start, end }) => {
    try {
      readScenario(Buffer.from(bytes.buffer, start, end - start).toString("utf8"));
      return true;
    } catch (error) {
      if (error instanceof ConfigError) return false;
      throw error;
    }
  },
};

export const controlTargets: readonly FuzzTarget[] = [stateDigest, stateTransfer, question, welcome, scenario];
