/**
 * What every `FramePort` promises, whatever carries the frames. A world makes a pair of ports that are linked to each other;
 * deviations of a world are named skips with their reasons.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MiB } from "#src/base/index.js";
import {
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  type EventLog,
  type FrameHandlers,
  type FramePort,
} from "#src/platform/index.js";

/** One thing a port told its host. */
export interface Told {
  readonly what: "up" | "down" | "frame" | "drain";
  readonly link: number;
  readonly kind: number;
  readonly body: Uint8Array;
}

/** Handlers that remember everything and wake whoever waits for it. */
export class Recorder implements FrameHandlers {
  readonly told: Told[] = [];
  /** Called before the frame is recorded, inside the handler. */
  onFrameHook: ((link: number, kind: number) => void) | null = null;
  /** True while the host is inside a call of the port: no handler may run then. */
  insideCall = false;
  #waiting: (() => void)[] = [];

  onLink(link: number, up: boolean): void {
    this.#record({ what: up ? "up" : "down", link, kind: 0, body: new Uint8Array(0) });
  }

  onFrame(link: number, kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): void {
    assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype, "frames are plain Uint8Arrays, not Buffers");
    assert.equal(view.byteLength, bytes.length, "the view covers the same bytes");
    if (end > start) assert.equal(view.getUint8(end - 1), bytes[end - 1], "the view shows the same bytes");
    const body = bytes.slice(start, end);
    this.onFrameHook?.(link, kind);
    this.#record({ what: "frame", link, kind, body });
  }

  onDrain(link: number): void {
    this.#record({ what: "drain", link, kind: 0, body: new Uint8Array(0) });
  }

  get frames(): Told[] {
    return this.told.filter((told) => told.what === "frame");
  }

  count(what: Told["what"]): number {
    return this.told.filter((told) => told.what === what).length;
  }

  /** The link that came up last, or -1 if the last news of it is that it is down. */
  get link(): number {
    const last = this.told.findLast((told) => told.what === "up" || told.what === "down");
    return last?.what === "up" ? last.link : -1;
  }

  change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #record(told: Told): void {
    assert.ok(!this.insideCall, `${told.what} was told inside a call of the port`);
    this.told.push(told);
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** An EventLog that keeps its lines. */
export class Lines implements EventLog {
  readonly lines: { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }[] = [];
  info(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({ event, fields });
  }
  warn(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.info(event, fields);
  }
  error(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.info(event, fields);
  }
  of(event: string): Readonly<Record<string, unknown>>[] {
    return this.lines.filter((line) => line.event === event).map((line) => line.fields);
  }
}

/** Two linked ports, not started yet. `a` is the side that connects (again). */
export interface FramePortPair {
  readonly a: FramePort;
  readonly b: FramePort;
  /** Lets the world go on until the condition holds; fails if it can't any more. */
  readonly until: (condition: () => boolean, recorders: readonly Recorder[]) => Promise<void>;
}

export interface FramePortWorld {
  readonly name: string;
  open(inFlightBytesMax: number): Promise<FramePortPair>;
  /** Tests that this world skips, with the reason. */
  readonly skips?: Readonly<Record<string, string>>;
}

/** Waits by the recorders' own events; for worlds in real time. */
export async function untilRecorded(condition: () => boolean, recorders: readonly Recorder[]): Promise<void> {
  while (!condition()) await Promise.race(recorders.map((recorder) => recorder.change()));
}

export function patterned(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let value = seed * 2_654_435_761;
  for (let i = 0; i < length; i++) {
    value = (Math.imul(value, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = value >>> 24;
  }
  return bytes;
}

/** Sends one frame; false if the port took none. */
export function send(port: FramePort, link: number, kind: number, body: Uint8Array): boolean {
  const writer = port.begin(link, kind);
  if (writer === null) return false;
  writer.copy(body, 0, body.length);
  port.end();
  return true;
}

interface Linked extends FramePortPair {
  readonly ra: Recorder;
  readonly rb: Recorder;
  readonly settle: (condition: () => boolean) => Promise<void>;
}

async function linked(world: FramePortWorld, inFlightBytesMax = 16 * MiB): Promise<Linked> {
  const pair = await world.open(inFlightBytesMax);
  const [ra, rb] = [new Recorder(), new Recorder()];
  for (const [port, recorder] of [
    [pair.a, ra],
    [pair.b, rb],
  ] as const) {
    recorder.insideCall = true;
    port.start(recorder);
    recorder.insideCall = false;
  }
  const settle = (condition: () => boolean): Promise<void> => pair.until(condition, [ra, rb]);
  await settle(() => ra.link >= 0 && rb.link >= 0);
  return { ...pair, ra, rb, settle };
}

async function closed(pair: Linked): Promise<void> {
  let open = 2;
  let wake: () => void = () => {};
  const all = new Promise<void>((resolve) => (wake = resolve));
  for (const port of [pair.a, pair.b]) {
    port.close(() => {
      if (--open === 0) wake();
    });
  }
  assert.equal(open, 2, "close called back inside the call");
  // A simulated world stands still unless it is driven; a real one needs no driving.
  await Promise.race([all, pair.until(() => open === 0, [pair.ra, pair.rb])]);
}

/** Registers the suite for one world. */
export function framePortSuite(world: FramePortWorld): void {
  const check = (name: string, body: () => Promise<void>): void => {
    const skip = world.skips?.[name];
    test(name, skip === undefined ? {} : { skip }, body);
  };

  describe(`FramePort: ${world.name}`, () => {
    check("frames of every size arrive whole and in order, both ways", async () => {
      const pair = await linked(world);
      const { a, b, ra, rb, settle } = pair;
      const sizes = [0, 1, 2, 3, 23, 24, 25, 100, 127, 128, 129, 1000, 65_511, 65_512, 65_513, 70_000, 1 * MiB];
      sizes.push(FRAME_BYTES_MAX - FRAME_HEADER_BYTES);
      for (const [from, link, to] of [
        [a, ra.link, rb],
        [b, rb.link, ra],
      ] as const) {
        for (const [index, size] of sizes.entries()) {
          assert.ok(send(from, link, index + 1, patterned(size, index)));
          if (index % 3 === 0) from.flush();
        }
        from.flush();
        await settle(() => to.frames.length === sizes.length);
        for (const [index, frame] of to.frames.entries()) {
          assert.equal(frame.kind, index + 1);
          assert.deepEqual(frame.body, patterned(sizes[index] as number, index));
        }
      }
      await closed(pair);
    });

    check("nothing leaves before flush, and many frames leave with one", async () => {
      const pair = await linked(world);
      const { a, ra, rb, settle } = pair;
      const count = 5000;
      for (let i = 0; i < count; i++) assert.ok(send(a, ra.link, 7, patterned(i % 90, i)));
      assert.ok(a.inFlightBytes(ra.link) > 0);
      assert.equal(rb.frames.length, 0);
      a.flush();
      await settle(() => rb.frames.length === count);
      for (const [i, frame] of rb.frames.entries()) assert.deepEqual(frame.body, patterned(i % 90, i));
      await closed(pair);
    });

    check("a link that is not up takes nothing", async () => {
      const pair = await linked(world);
      assert.equal(pair.a.begin(999, 1), null);
      assert.equal(pair.a.inFlightBytes(999), 0);
      pair.a.pause(999);
      pair.a.resume(999);
      pair.a.disconnect(999, "nobody");
      await closed(pair);
    });

    check("programmer errors are asserted: nesting, kinds, oversize frames", async () => {
      const pair = await linked(world);
      const { a, ra } = pair;
      assert.throws(() => a.end(), /end without begin/);
      assert.throws(() => a.begin(ra.link, 0), /frame kinds/);
      assert.throws(() => a.begin(ra.link, 65_536), /frame kinds/);
      const writer = a.begin(ra.link, 1);
      assert.ok(writer !== null);
      assert.throws(() => a.begin(ra.link, 1), /before the end/);
      assert.throws(() => a.flush(), /inside a frame/);
      writer.skip(FRAME_BYTES_MAX);
      assert.throws(() => a.end(), /the maximum is/);
      pair.a.disconnect(ra.link, "the half frame is not to be sent");
      await closed(pair);
    });

    check("begin refuses above the maximum, onDrain follows, and no frame that was taken is lost", async () => {
      const max = 64 * 1024;
      const body = patterned(10_000, 1);
      const pair = await linked(world, max);
      const { a, ra, rb, settle } = pair;
      let taken = 0;
      for (let round = 0; round < 3; round++) {
        const drains = ra.count("drain");
        while (send(a, ra.link, 1, body)) taken++;
        assert.ok(a.inFlightBytes(ra.link) >= max, "refused too early");
        assert.ok(a.inFlightBytes(ra.link) <= max + body.length + FRAME_HEADER_BYTES, "taken too late");
        a.flush();
        await settle(() => ra.count("drain") > drains);
        assert.ok(a.inFlightBytes(ra.link) * 2 < max, "drained means below half");
      }
      assert.ok(taken >= 18, `${taken} frames were taken`);
      await settle(() => rb.frames.length === taken);
      await closed(pair);
    });

    check("a paused link delivers nothing more until it is resumed, then everything", async () => {
      const pair = await linked(world);
      const { a, b, ra, rb, settle } = pair;
      rb.onFrameHook = (link, kind) => {
        if (kind === 1) b.pause(link);
      };
      send(a, ra.link, 1, patterned(10, 0));
      a.flush();
      await settle(() => rb.frames.length === 1);
      for (let i = 0; i < 100; i++) {
        send(a, ra.link, 2, patterned(1000, i));
        a.flush();
      }
      // The way back is open, and by the time its frame has arrived the paused ones would have.
      send(b, rb.link, 3, patterned(1, 0));
      b.flush();
      await settle(() => ra.frames.length === 1);
      assert.equal(rb.frames.length, 1);
      b.resume(rb.link);
      await settle(() => rb.frames.length === 101);
      for (let i = 0; i < 100; i++) assert.deepEqual(rb.frames[i + 1]?.body, patterned(1000, i));
      await closed(pair);
    });

    check("disconnect takes the link down on both sides, and it comes up again", async () => {
      const pair = await linked(world);
      const { a, b, ra, rb, settle } = pair;
      rb.insideCall = true;
      b.disconnect(rb.link, "a test");
      rb.insideCall = false;
      await settle(() => ra.count("down") === 1 && rb.count("down") === 1);
      await settle(() => ra.count("up") === 2 && rb.count("up") === 2);
      assert.ok(send(a, ra.link, 5, patterned(50, 5)));
      a.flush();
      await settle(() => rb.frames.length === 1);
      await closed(pair);
    });

    check("a handler that disconnects sees no further frame of that link", async () => {
      const pair = await linked(world);
      const { a, b, ra, rb, settle } = pair;
      rb.onFrameHook = (link) => b.disconnect(link, "enough");
      for (let i = 0; i < 10; i++) send(a, ra.link, 1, patterned(10, i));
      a.flush();
      await settle(() => ra.count("down") === 1 && rb.count("down") === 1);
      assert.equal(rb.frames.length, 1);
      await closed(pair);
    });

    check("close sends what was flushed, tells the other side, and is silent afterwards", async () => {
      const pair = await linked(world);
      const { a, b, ra, rb, settle } = pair;
      send(a, ra.link, 9, patterned(1000, 9));
      const toldBefore = ra.told.length;
      let done = false;
      a.close(() => (done = true));
      assert.equal(done, false, "close called back inside the call");
      assert.equal(a.begin(ra.link, 1), null);
      await settle(() => rb.count("down") === 1);
      assert.equal(rb.frames.length, 1, "what was written before close has arrived");
      await new Promise<void>((resolve) => {
        b.close(resolve);
        void pair.until(() => done, [ra, rb]).then(resolve);
      });
      assert.equal(ra.told.length, toldBefore);
    });
  });
}
