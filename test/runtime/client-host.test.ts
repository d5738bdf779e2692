/** The client host: what the port, the clock and the turn do to a block client. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteWriter } from "#src/base/index.js";
import { type ClientFailure, FrameKind, replyCount, type Span } from "#src/model/index.js";
import type { BlockClient, BlockClientHandlers } from "#src/runtime/index.js";
import { beginCommand, endCommand, KvOperation, writeArgumentLatin1 } from "#src/service/index.js";
import { ClientWorld } from "./client-world.js";

class Recorder implements BlockClientHandlers {
  readonly outcomes = new Map<number, number | ClientFailure>();
  readonly leaders: number[] = [];
  openedTimes = 0;
  inside = false;

  resolve(token: number, replies: Span): void {
    assert.ok(!this.inside, "a callback ran inside submit");
    assert.ok(!this.outcomes.has(token));
    this.outcomes.set(token, replyCount(replies.view, replies.start));
  }

  fail(token: number, failure: ClientFailure): void {
    assert.ok(!this.inside, "a callback ran inside submit");
    assert.ok(!this.outcomes.has(token));
    this.outcomes.set(token, failure);
  }

  opened(): void {
    this.openedTimes++;
  }

  leaderChanged(leader: number): void {
    this.leaders.push(leader);
  }

  submit(client: BlockClient, token: number, commands: number, read = false, deadline?: number): void {
    const writer = new ByteWriter();
    // What stands before and behind the commands is not the client's business.
    writer.u32(0xdeadbeef);
    for (let i = 0; i < commands; i++) {
      const at = beginCommand(writer, KvOperation.get, 0, 1);
      writeArgumentLatin1(writer, `key${i}`);
      endCommand(writer, at);
    }
    const end = writer.length;
    writer.u32(0xdeadbeef);
    this.inside = true;
    client.submit(token, read, commands, writer.bytes, writer.view, 4, end, deadline);
    this.inside = false;
    // Submitted bytes are copied.
    writer.bytes.fill(0xff);
  }
}

describe("a block client over a port", () => {
  test("resolves what it submits, and what a turn submits leaves with one flush", () => {
    const world = new ClientWorld();
    const recorder = new Recorder();
    const { client, port } = world.client(recorder);
    world.run(10);
    assert.ok(client.session > 0);
    assert.equal(client.leader, 1);
    const flushes = port.flushes;
    recorder.submit(client, 1, 3);
    recorder.submit(client, 2, 1);
    recorder.submit(client, 3, 2, true);
    world.run(10);
    assert.equal(port.flushes, flushes + 1);
    assert.deepEqual(
      [...recorder.outcomes].sort(([a], [b]) => a - b),
      [
        [1, 3],
        [2, 1],
        [3, 2],
      ],
    );
    assert.deepEqual(recorder.leaders, [1]);
    assert.equal(world.cluster.malformed, 0);
  });

  test("deadlines: the client's own by default, that of a block when given", () => {
    const world = new ClientWorld();
    const recorder = new Recorder();
    const { client } = world.client(recorder, false);
    recorder.submit(client, 1, 1);
    recorder.submit(client, 2, 1, false, world.kernel.now + 100);
    world.run(99);
    assert.equal(recorder.outcomes.size, 0);
    world.run(2);
    assert.deepEqual([...recorder.outcomes], [[2, "try-again"]]);
    world.run(4900);
    assert.deepEqual(recorder.outcomes.get(1), "try-again");
  });

  test("a block may be submitted inside the callback that answers another", () => {
    const world = new ClientWorld();
    let client: BlockClient | null = null;
    let answered = 0;
    const recorder = new Recorder();
    const handlers: BlockClientHandlers = {
      resolve: () => {
        if (++answered < 20) recorder.submit(client as BlockClient, answered, 1, answered % 3 === 0);
      },
      fail: (_token, failure) => assert.fail(failure),
      opened: () => {},
    };
    ({ client } = world.client(handlers));
    recorder.submit(client, 0, 1);
    world.run(200);
    assert.equal(answered, 20);
  });

  test("frames lost because a link was full are sent again when it drains", () => {
    const world = new ClientWorld();
    const recorder = new Recorder();
    const { client, port } = world.client(recorder);
    world.run(10);
    port.framesMax = 0;
    for (let token = 0; token < 5; token++) recorder.submit(client, token, 1);
    world.run(10);
    assert.equal(port.framesLost, 5);
    port.drain(1);
    world.run(10);
    assert.equal(recorder.outcomes.size, 5);
    assert.deepEqual(world.cluster.altered, []);
  });

  test("malformed frames are dropped, and complained about a bounded number of times", () => {
    const world = new ClientWorld();
    const recorder = new Recorder();
    const { client, port } = world.client(recorder);
    world.run(10);
    for (let i = 0; i < 30; i++) {
      port.deliver(1, { kind: FrameKind.reply, body: new Uint8Array(31).fill(i) });
      port.deliver(1, { kind: FrameKind.reply, body: new Uint8Array(64).fill(0xff) });
      port.deliver(1, { kind: FrameKind.redirect, body: new Uint8Array(3) });
      port.deliver(1, { kind: FrameKind.welcome, body: new Uint8Array(8).fill(9) });
    }
    recorder.submit(client, 1, 1);
    world.run(10);
    assert.deepEqual([...recorder.outcomes], [[1, 1]]);
    assert.equal(world.warnings.length, 10);
  });

  test("says when a full window opens, and follows a change of leader", () => {
    const world = new ClientWorld();
    const recorder = new Recorder();
    const { client, port } = world.client(recorder);
    world.run(10);
    let token = 0;
    while (client.open) recorder.submit(client, token++, 1);
    assert.equal(token, 256);
    world.cluster.elect(2);
    world.cluster.tell(3, 2);
    port.link(1, false);
    world.run(300);
    assert.equal(recorder.outcomes.size, 256);
    assert.equal(recorder.openedTimes, 1);
    assert.equal(client.leader, 2);
    assert.deepEqual(world.cluster.altered, []);
  });

  test("closing fails what is open, closes the port and calls back", () => {
    const world = new ClientWorld();
    const recorder = new Recorder();
    const { client, port } = world.client(recorder);
    world.run(10);
    recorder.submit(client, 1, 1);
    let done = false;
    client.close(() => (done = true));
    assert.ok(!done, "a callback ran inside the call");
    assert.deepEqual([...recorder.outcomes], [[1, "closed"]]);
    world.run(10);
    assert.ok(done && port.closed);
    assert.equal(world.cluster.closed, 1);
    assert.throws(() => recorder.submit(client, 2, 1), /closed/);
  });
});
