/** Memory that threads take from without a message: regions, their ends, and what is beyond. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CapacityError } from "#src/base/index.js";
import { PAGE_BYTES, SharedPages } from "#src/service/byte-store/shared-pages.js";
import { createSharedKv, KvOperation as O, STORE_LIMITS } from "#src/service/index.js";
import { at, command, START } from "./kv-random.js";

const REGION_PAGES = 2 ** 20;

test("pages that are taken lie within one region, are nobody else's, and hold zeros", () => {
  const pages = SharedPages.reserve(2 * REGION_PAGES * PAGE_BYTES);
  const others = new SharedPages(pages.description);
  const first = pages.take(3);
  const second = others.take(5);
  assert.ok(second >= first + 3);
  const bytes = new Uint8Array(pages.bufferOf(first), pages.offsetOf(first), 3 * PAGE_BYTES);
  assert.ok(bytes.every((byte) => byte === 0));
  bytes.fill(7);
  const same = new Uint8Array(others.bufferOf(first), others.offsetOf(first), 3 * PAGE_BYTES);
  assert.ok(same.every((byte) => byte === 7));
  assert.equal(new Uint8Array(pages.bufferOf(second), pages.offsetOf(second), PAGE_BYTES)[0], 0);
  // What does not fit in the rest of a region begins with the next.
  assert.equal(pages.take(REGION_PAGES - 20), 8);
  assert.equal(others.take(13), REGION_PAGES);
  assert.equal(pages.offsetOf(REGION_PAGES), 0);
  assert.throws(() => pages.take(REGION_PAGES), CapacityError);
  assert.equal(pages.take(1), REGION_PAGES + 13);
});

test("a store that has no memory left says so, and one with other limits refuses commands before", () => {
  const value = "v".repeat(100_000);
  const writes = Array.from({ length: 400 }, (_, i) => command(O.set, [`key ${i}`, value]));
  const small = createSharedKv(1, STORE_LIMITS, 24 * 2 ** 20);
  assert.throws(() => at(small, START, writes), CapacityError);
  // Each partition may hold its share: of two that of these keys is full with 5 MB of 10.
  const limited = createSharedKv(2, { entriesMax: 1000, bytesMax: 10e6 }, 2 ** 30);
  limited.adopt(3);
  const replies = at(limited, START, writes);
  assert.ok(replies.some((reply) => JSON.stringify(reply).includes("OOM")));
  limited.publish(true, 3);
  const { bytes } = limited.size();
  assert.ok(bytes > 4e6 && bytes < 10e6, `${bytes} bytes`);
});
