/** The frame layout and its reader: every chunking, every damage, any garbage. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import {
  checksum,
  closeFrame,
  clusterKey,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  FrameReader,
  HeldPool,
  NO_CLUSTER,
  openFrame,
  type ClusterKey,
  type FrameFault,
} from "#src/platform/index.js";

const cluster = clusterKey("0123456789abcdef");
interface Frame {
  readonly kind: number;
  readonly body: Uint8Array;
}

function encode(frames: readonly Frame[], key: ClusterKey = cluster): Uint8Array {
  const writer = new ByteWriter();
  for (const { kind, body } of frames) {
    const start = openFrame(writer);
    writer.copy(body, 0, body.length);
    closeFrame(writer, start, kind, key);
  }
  return writer.toBytes();
}

class Sink {
  readonly frames: Frame[] = [];
  readonly places: Uint8Array[] = [];
  stopAfter = Infinity;
  onFrame(kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
    assert.equal(view.byteLength, bytes.length);
    this.frames.push({ kind, body: bytes.slice(start, end) });
    this.places.push(bytes);
    return this.frames.length < this.stopAfter;
  }
}

/** Pushes `bytes` cut at the given places; each chunk is a memory of its own that is wiped after the call. */
function pushCut(reader: FrameReader, bytes: Uint8Array, cuts: readonly number[]): FrameFault | null {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  let fault: FrameFault | null = null;
  for (let i = 1; i < places.length; i++) {
    const margin = i % 3;
    const chunk = new Uint8Array([...new Uint8Array(margin), ...bytes.subarray(places[i - 1], places[i])]);
    fault = reader.push(chunk, new DataView(chunk.buffer), margin, chunk.length);
    chunk.fill(0xee);
  }
  return fault;
}

const frame = fc.record(
  { kind: fc.integer({ min: 0, max: 0xffff }), body: fc.uint8Array({ maxLength: 300 }) },
  { noNullPrototype: true },
);

describe("frames", () => {
  test("the layout is the documented one", () => {
    const bytes = encode([{ kind: 0x1234, body: Uint8Array.of(1, 2, 3) }]);
    const view = new DataView(bytes.buffer);
    assert.equal(bytes.length, 27);
    assert.equal(view.getUint32(0, true), 27);
    assert.equal(view.getUint32(4, true), crc32(bytes.subarray(8)));
    assert.equal(String.fromCharCode(view.getUint8(8), view.getUint8(9)), "Sy");
    assert.equal(view.getUint16(10, true), 1);
    assert.equal(view.getUint32(12, true), 0x89abcdef);
    assert.equal(view.getUint32(16, true), 0x01234567);
    assert.equal(view.getUint16(20, true), 0x1234);
    assert.equal(view.getUint16(22, true), 0);
  });

  test("the checksum is zlib's, whichever way it is computed", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(20), (bytes, skip) => {
        const start = Math.min(skip, bytes.length);
        assert.equal(checksum(bytes, start, bytes.length), crc32(bytes.subarray(start)));
      }),
    );
  });

  test("the same frames whatever the chunking", () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 40 }), (frames, cuts) => {
        const sink = new Sink();
        assert.equal(pushCut(new FrameReader({ sink, cluster }), encode(frames), cuts), null);
        assert.deepEqual(sink.frames, frames);
      }),
    );
  });

  test("byte by byte, and a frame of the greatest length", () => {
    const frames = [0, 1, 50].map((length, kind) => ({ kind, body: new Uint8Array(length).fill(kind) }));
    const bytes = encode(frames);
    const sink = new Sink();
    const reader = new FrameReader({ sink, cluster });
    assert.equal(pushCut(reader, bytes, Array.from(bytes.keys())), null);
    assert.deepEqual(sink.frames, frames);
    const long = encode([{ kind: 9, body: new Uint8Array(FRAME_BYTES_MAX - FRAME_HEADER_BYTES).fill(7) }]);
    const view = new DataView(long.buffer);
    assert.equal(reader.push(long, view, 0, 5_000_000), null);
    assert.ok(reader.heldCapacity <= FRAME_BYTES_MAX && reader.heldCapacity >= 5_000_000);
    assert.equal(reader.push(long, view, 5_000_000, long.length), null);
    assert.equal(sink.frames.at(-1)?.body.length, FRAME_BYTES_MAX - FRAME_HEADER_BYTES);
    assert.equal(reader.heldCapacity, 0, "nothing is held between frames");
  });

  test("a long frame that stops half-way holds at most twice what was sent of it", () => {
    const bytes = encode([{ kind: 9, body: new Uint8Array(FRAME_BYTES_MAX - FRAME_HEADER_BYTES) }]);
    const view = new DataView(bytes.buffer);
    const reader = new FrameReader({ sink: new Sink(), cluster });
    let held = 0;
    for (let at = 0; at < bytes.length - 65_536; at += 65_536) {
      assert.equal(reader.push(bytes, view, at, at + 65_536), null);
      // What is asked for is rounded up to a power of two.
      assert.ok(reader.heldCapacity <= Math.max(4 * 1024 * 1024, 4 * (at + 65_536)), `${reader.heldCapacity} at ${at}`);
      if (reader.heldCapacity !== held) held = reader.heldCapacity;
    }
    assert.equal(held, FRAME_BYTES_MAX);
    const short = encode([{ kind: 9, body: new Uint8Array(100_000) }]);
    const other = new FrameReader({ sink: new Sink(), cluster });
    assert.equal(other.push(short, new DataView(short.buffer), 0, 90_000), null);
    assert.equal(other.heldCapacity, 131_072, "no more than the frame is long, rounded up");
  });

  test("a frame that lies in one chunk is handed on where it lies", () => {
    const bytes = encode([
      { kind: 1, body: new Uint8Array(100) },
      { kind: 2, body: new Uint8Array(100) },
    ]);
    const sink = new Sink();
    const reader = new FrameReader({ sink, cluster });
    reader.push(bytes, new DataView(bytes.buffer), 0, bytes.length);
    assert.ok(sink.places.length === 2 && sink.places.every((place) => place === bytes));
    assert.equal(reader.heldCapacity, 0);
  });

  test("readers give their buffers back, and what is spare is bounded", () => {
    const pool = new HeldPool();
    const bytes = encode([{ kind: 1, body: new Uint8Array(100_000) }]);
    for (let i = 0; i < 3; i++) {
      const reader = new FrameReader({ sink: new Sink(), cluster, pool });
      assert.equal(pushCut(reader, bytes, [50_000]), null);
      assert.equal(reader.heldCapacity, 0);
    }
    const spare = pool.spareBytes;
    assert.ok(spare > 0 && spare <= 2 * 131_072 + 4096, `${spare} bytes are spare after three readers in turn`);
    const abandoned = new FrameReader({ sink: new Sink(), cluster, pool });
    abandoned.push(bytes, new DataView(bytes.buffer), 0, 50_000);
    assert.ok(pool.spareBytes < spare);
    abandoned.close();
    assert.equal(pool.spareBytes, spare);
    const many = Array.from({ length: 8 }, () => pool.take(8 * 1024 * 1024));
    for (const buffer of many) pool.give(buffer);
    assert.ok(pool.spareBytes <= 16 * 1024 * 1024 && pool.spareBytes > 8 * 1024 * 1024);
  });

  test("a sink that has had enough gets nothing more", () => {
    const sink = new Sink();
    sink.stopAfter = 2;
    const bytes = encode(Array.from({ length: 5 }, (_, kind) => ({ kind, body: new Uint8Array(3) })));
    assert.equal(pushCut(new FrameReader({ sink, cluster }), bytes, [60, 61]), null);
    assert.equal(sink.frames.length, 2);
  });

  test("a flipped bit anywhere is a fault, and no frame", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat(),
        fc.array(fc.nat(), { maxLength: 5 }),
        (body, at, cuts) => {
          const bytes = encode([{ kind: 3, body }]);
          const bit = at % (bytes.length * 8);
          bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
          const sink = new Sink();
          const fault = pushCut(new FrameReader({ sink, cluster }), bytes, cuts);
          assert.equal(sink.frames.length, 0);
          // A length that grew only says that more is to come; the connection then waits, or ends.
          if (bit >= 32) assert.ok(fault !== null);
        },
      ),
    );
  });

  test("random bytes never throw, never make a frame, and never hold more than came", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.array(fc.nat(), { maxLength: 10 }), (bytes, cuts) => {
        const sink = new Sink();
        const reader = new FrameReader({ sink, cluster });
        pushCut(reader, bytes, cuts);
        assert.equal(sink.frames.length, 0);
        assert.ok(reader.heldCapacity <= 4096 + bytes.length * 8, `${reader.heldCapacity} bytes held`);
      }),
    );
  });

  test("random bytes behind a valid header never throw and never hold much more than came", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 2000 }),
        fc.integer({ min: FRAME_HEADER_BYTES + 1, max: FRAME_BYTES_MAX }),
        fc.array(fc.nat(), { maxLength: 10 }),
        (tail, length, cuts) => {
          const header = encode([{ kind: 1, body: new Uint8Array(0) }]);
          new DataView(header.buffer).setUint32(0, length, true);
          const sink = new Sink();
          const reader = new FrameReader({ sink, cluster });
          const bytes = new Uint8Array([...header, ...tail]);
          pushCut(reader, bytes, cuts);
          assert.equal(sink.frames.length, 0);
          assert.ok(reader.heldCapacity <= 4096 + bytes.length * 8, `${reader.heldCapacity} bytes held for ${length}`);
        },
      ),
    );
  });
});

describe("faults of frames name both values", () => {
  const good = encode([{ kind: 1, body: new Uint8Array(10) }]);
  const faultOf = (bytes: Uint8Array, init: object = {}): FrameFault | null => {
    const reader = new FrameReader({ sink: new Sink(), cluster, ...init });
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const fault = reader.push(bytes, view, 0, bytes.length);
    assert.deepEqual(reader.push(good, new DataView(good.buffer), 0, good.length), fault, "a fault is final");
    return fault;
  };
  const changed = (change: (view: DataView) => void): Uint8Array => {
    const bytes = good.slice();
    change(new DataView(bytes.buffer));
    return bytes;
  };
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);

  test("good bytes have none", () => assert.equal(faultOf(good), null));
  for (const [name, bytes, reason, detail] of [
    ["magic", changed((view) => view.setUint16(8, 0x1111, true)), "magic", /1111.*7953/],
    ["version", changed((view) => view.setUint8(10, 9)), "version", /version 9.*ours is 1/],
    ["cluster", encode([{ kind: 1, body: good }], clusterKey("00000000000000aa")), "cluster", /00000000000000aa.*0123/],
    ["no cluster", encode([{ kind: 1, body: good }], NO_CLUSTER), "cluster", /0000000000000000/],
    ["checksum", changed((view) => view.setUint8(30, 9)), "checksum", /its header says/],
    ["short length", changed((view) => view.setUint32(0, 23, true)), "length", /24 to 25165880 bytes, got 23/],
    ["huge length", changed((view) => view.setUint32(0, 0xffffffff, true)), "length", /got 4294967295/],
    ["length above the maximum", changed((view) => view.setUint32(0, 25_165_881, true)), "length", /got 25165881/],
    ["HTTP", text("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "length", /an HTTP request/],
    ["HTTP/2", text("PRI * HTTP/2.0"), "length", /an HTTP request/],
    ["Redis", text("*1\r\n$4\r\nPING\r\n"), "length", /a Redis command/],
    ["Redis, inline", text("PING"), "length", /a Redis command/],
    ["TLS", Uint8Array.of(0x16, 3, 1, 2, 0), "length", /a TLS handshake/],
  ] as const) {
    test(name, () => {
      const fault = faultOf(bytes);
      assert.equal(fault?.reason, reason);
      assert.match(fault?.detail ?? "", detail);
    });
  }
  test("four bytes of a huge length are enough, and nothing is held", () => {
    const reader = new FrameReader({ sink: new Sink(), cluster });
    const bytes = Uint8Array.of(0xff, 0xff, 0xff, 0x7f);
    assert.equal(reader.push(bytes, new DataView(bytes.buffer), 0, 3), null);
    assert.equal(reader.push(bytes, new DataView(bytes.buffer), 3, 4)?.reason, "length");
    assert.equal(reader.heldCapacity, 0);
  });
  test("strangers are taken only where they are expected", () => {
    const reader = new FrameReader({ sink: new Sink(), cluster });
    reader.takesNoCluster = true;
    const bytes = encode([{ kind: 1, body: good }], NO_CLUSTER);
    assert.equal(reader.push(bytes, new DataView(bytes.buffer), 0, bytes.length), null);
    assert.equal(faultOf(encode([{ kind: 1, body: good }], NO_CLUSTER), { cluster: null }), null);
  });
});
