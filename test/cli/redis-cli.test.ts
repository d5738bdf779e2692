import assert from "node:assert/strict";
import { test } from "node:test";
import { redisCli } from "#src/cli/redis-cli.js";

test("the ready line of a replica has the redis-cli command that reaches it", () => {
  assert.equal(redisCli("127.0.0.1:7379", false), "redis-cli -p 7379");
  assert.equal(redisCli("10.0.0.1:7379", true), "redis-cli --tls -h 10.0.0.1 -p 7379");
  assert.equal(redisCli("[::1]:7380", false), "redis-cli -h ::1 -p 7380");
});
