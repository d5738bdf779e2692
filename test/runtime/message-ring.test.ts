import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createRingMemory } from "#src/platform/index.js";
import { MessageReceiver, MessageSender } from "#src/runtime/groups/message-ring.js";

const RING_BYTES = 4096;

interface Message {
  readonly kind: number;
  readonly number: number;
  readonly bytes: Uint8Array;
}

const message = fc.record({
  kind: fc.integer({ min: 1, max: 255 }),
  number: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  // Most fit into a piece, some take many, and some more than the ring holds.
  bytes: fc.oneof(
    { weight: 6, arbitrary: fc.uint8Array({ maxLength: 200 }) },
    { weight: 2, arbitrary: fc.uint8Array({ minLength: 900, maxLength: 3000 }) },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: 9000, maxLength: 9100 }) },
  ),
});

describe("messages between members", () => {
  test("arrive whole and in order, however the two ends take turns", () => {
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 40 }),
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 40 }),
        (messages, turns) => {
          const memory = createRingMemory(RING_BYTES);
          const sender = new MessageSender(memory);
          const receiver = new MessageReceiver(memory);
          const arrived: Message[] = [];
          let sent = 0;
          let full = false;
          for (let turn = 0; arrived.length < messages.length; turn++) {
            // While the ring is full nothing changes until the receiver says that it has made room.
            while (sent < messages.length && !full) {
              const { kind, number, bytes } = messages[sent] as Message;
              if (sender.offer(kind, number, bytes, 0, bytes.length)) sent++;
              else full = true;
            }
            let left = turns[turn % turns.length] as number;
            const roomMade = receiver.receive((kind, number, bytes, _view, start, end) => {
              arrived.push({ kind, number, bytes: bytes.slice(start, end) });
              return --left > 0;
            });
            if (roomMade) full = false;
          }
          assert.deepEqual(
            arrived.map(({ kind, number, bytes }) => [kind, number, Buffer.from(bytes).toString("hex")]),
            messages.map(({ kind, number, bytes }) => [kind, number, Buffer.from(bytes).toString("hex")]),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  test("a sender that found no room is told of it once", () => {
    const memory = createRingMemory(RING_BYTES);
    const sender = new MessageSender(memory);
    const receiver = new MessageReceiver(memory);
    const bytes = new Uint8Array(700);
    let sent = 0;
    while (sender.offer(1, sent, bytes, 0, bytes.length)) sent++;
    assert.ok(sent > 1);
    assert.equal(
      receiver.receive(() => false),
      true,
    );
    // It has not been full since.
    assert.equal(
      receiver.receive(() => false),
      false,
    );
  });
});
