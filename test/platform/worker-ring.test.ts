import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { AssertionError } from "#src/base/index.js";
import { createRingMemory, RING_BYTES_MAX, RingConsumer, RingProducer, WorkerThreads } from "#src/platform/index.js";

/** A record of this length whose bytes tell its number. */
function write(producer: RingProducer, length: number, number: number): boolean {
  const at = producer.begin(length);
  if (at < 0) return false;
  for (let i = 0; i < length; i++) producer.bytes[at + i] = number + i;
  producer.end(length);
  return true;
}

function holds(consumer: RingConsumer, length: number, number: number): boolean {
  if (consumer.end - consumer.start !== length) return false;
  for (let i = 0; i < length; i++) if (consumer.bytes[consumer.start + i] !== ((number + i) & 255)) return false;
  return true;
}

describe("ring", () => {
  test("records come out as they went in, whatever the order of writing, publishing and releasing", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("write" as const), length: fc.integer({ min: 0, max: 60 }) }),
      fc.record({ kind: fc.constantFrom("publish" as const, "read" as const, "release" as const) }),
    );
    fc.assert(
      fc.property(fc.constantFrom(128, 256), fc.array(step, { maxLength: 400 }), (bytes, steps) => {
        const memory = createRingMemory(bytes);
        const producer = new RingProducer(memory);
        const consumer = new RingConsumer(memory);
        const written: number[] = [];
        let visible = 0;
        let read = 0;
        const held = (): number => written.slice(released).reduce((sum, length) => sum + ((4 + length + 7) & ~7), 0);
        let released = 0;
        for (const each of steps) {
          if (each.kind === "write") {
            const before = held();
            if (write(producer, each.length, written.length)) written.push(each.length);
            else {
              // A record may be refused for want of room only: with less than half of it held, any fits.
              assert.ok(before + 64 > bytes / 2, `refused with ${before} of ${bytes} bytes held`);
            }
            assert.ok(held() <= bytes, "more is held than there is room for");
          } else if (each.kind === "publish") {
            producer.publish();
            visible = written.length;
          } else if (each.kind === "read") {
            const found = consumer.next();
            assert.equal(found, read < visible);
            if (found) {
              assert.ok(holds(consumer, written[read]!, read), `record ${read}`);
              read++;
            }
          } else {
            consumer.release();
            released = read;
          }
        }
        producer.publish();
        for (; read < written.length; read++) {
          assert.ok(consumer.next() && holds(consumer, written[read]!, read), `record ${read} at the end`);
        }
        assert.ok(!consumer.next());
      }),
      { numRuns: 300 },
    );
  });

  test("a record of the greatest length fits into an empty ring wherever its end is", () => {
    for (let offset = 0; offset < 256; offset += 8) {
      const memory = createRingMemory(256);
      const producer = new RingProducer(memory);
      const consumer = new RingConsumer(memory);
      for (let at = 0; at < offset; at += 8) {
        assert.ok(write(producer, 4, 0));
        producer.publish();
        assert.ok(consumer.next());
        consumer.release();
      }
      assert.ok(write(producer, producer.recordBytesMax, 7), `at ${offset}`);
      producer.publish();
      assert.ok(consumer.next() && holds(consumer, producer.recordBytesMax, 7));
    }
  });

  test("counters may pass 2^32", () => {
    const memory = createRingMemory(64);
    new Int32Array(memory)[0] = -16;
    new Int32Array(memory)[32] = -16;
    const producer = new RingProducer(memory);
    const consumer = new RingConsumer(memory);
    for (let i = 0; i < 20; i++) {
      assert.ok(write(producer, 12, i), `record ${i}`);
      producer.publish();
      assert.ok(consumer.next() && holds(consumer, 12, i));
      consumer.release();
    }
  });

  test("each side is woken once for each time it falls asleep", () => {
    const memory = createRingMemory(64);
    const producer = new RingProducer(memory);
    const consumer = new RingConsumer(memory);
    assert.ok(!consumer.next());
    assert.ok(consumer.sleep());
    assert.ok(write(producer, 8, 1));
    assert.ok(producer.publish(), "it sleeps");
    assert.ok(write(producer, 8, 2));
    assert.ok(!producer.publish(), "it is awake");
    assert.ok(!consumer.sleep(), "there is something");
    assert.ok(consumer.next());
    assert.ok(!consumer.release(), "the producer does not sleep");
    while (write(producer, 8, 3)) producer.publish();
    assert.ok(producer.sleep());
    assert.ok(consumer.next());
    assert.ok(consumer.release());
    assert.ok(write(producer, 8, 4));
    assert.ok(!consumer.release());
  });

  test("sizes out of bounds are refused", () => {
    for (const bytes of [0, 32, 100, 2 * RING_BYTES_MAX]) {
      assert.throws(() => createRingMemory(bytes), AssertionError);
    }
    const producer = new RingProducer(createRingMemory(64));
    assert.throws(() => producer.begin(producer.recordBytesMax + 1), AssertionError);
    producer.begin(4);
    assert.throws(() => producer.end(5), AssertionError);
    assert.throws(() => new RingConsumer(new SharedArrayBuffer(700)), AssertionError);
  });

  test("nothing is lost, and no wake-up, between two real threads", async () => {
    const records = 50_000;
    const there = createRingMemory(1024);
    const back = createRingMemory(1024);
    const total = await new Promise<unknown>((resolve, reject) => {
      const port = new WorkerThreads({ spinsMax: 5 });
      const module = new URL("./worker-ring-body.js", import.meta.url);
      const quiet = { onStart: () => undefined, onMessage: () => undefined };
      const exit = (error: Error | null): void => {
        if (error !== null) reject(error);
      };
      // One sends numbers, the other sends them back; the rings are so small that both sides wait often.
      port.start(
        { name: "mirror", module, data: { role: "mirror", from: there, to: back, records } },
        { ...quiet, onExit: exit },
      );
      port.start(
        { name: "source", module, data: { role: "source", from: back, to: there, records } },
        { ...quiet, onMessage: resolve, onExit: exit },
      );
    });
    assert.equal(total, (records * (records - 1)) / 2);
  });
});
