/** Passwords: stored as hashes, compared without telling how wrong they are, checked one at a time. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "#src/base/index.js";
import { ConfigError } from "#src/model/index.js";
import {
  AUTHENTICATOR_DEFAULTS,
  checkPasswordHash,
  hashPassword,
  PasswordAuthenticator,
  SystemScheduler,
} from "#src/platform/index.js";
import { Lines } from "./frame-port.suite.js";

const hash = hashPassword("correct horse");

function authenticator(options = {}): { doorman: PasswordAuthenticator; lines: Lines } {
  const lines = new Lines();
  const doorman = new PasswordAuthenticator({
    scheduler: new SystemScheduler(),
    events: lines,
    passwords: { ana: hash, bo: "plain:battery staple" },
    secrets: { machine: "0123" },
    options,
  });
  return { doorman, lines };
}

const ask = (doorman: PasswordAuthenticator, user: string, password: string): Promise<boolean> =>
  new Promise((resolve) => {
    let inside = true;
    doorman.verify(user, encodeUtf8(password), "somewhere", (accepted) => {
      assert.equal(inside, false, "the verdict came inside the call");
      resolve(accepted);
    });
    inside = false;
  });

describe("a stored password", () => {
  test("differs each time and does not contain the password", () => {
    assert.notEqual(hashPassword("correct horse"), hash);
    assert.match(hash, /^scrypt:16384:8:1:[\w-]{22}:[\w-]{43}$/);
    assert.ok(!hash.includes("horse"));
  });

  for (const text of [
    "",
    "secret",
    "scrypt:16384:8:1",
    "scrypt:16383:8:1:AAAAAAAAAAAAAAAAAAAAAA:" + "A".repeat(43),
    "scrypt:1073741824:8:1:AAAAAAAAAAAAAAAAAAAAAA:" + "A".repeat(43),
    "scrypt:262144:32:1:AAAAAAAAAAAAAAAAAAAAAA:" + "A".repeat(43),
    "scrypt:16384:8:1:AAAAAAAAAAAAAAAAAAAAAA:AAAA",
    `${hash}:more`,
  ]) {
    test(`is refused when malformed or too costly: "${text.slice(0, 28)}"`, () => {
      assert.throws(
        () => checkPasswordHash("ana", text),
        (error) =>
          error instanceof ConfigError && /passwords\.ana/.test(error.message) && !error.message.includes("AAA"),
      );
    });
  }
});

describe("an authenticator", () => {
  test("accepts each user's own password only", async () => {
    const { doorman } = authenticator();
    for (const [user, password, accepted] of [
      ["ana", "correct horse", true],
      ["ana", "correct horse", true],
      ["ana", "correct horsf", false],
      ["ana", "", false],
      ["ana", "battery staple", false],
      ["bo", "battery staple", true],
      ["bo", "correct horse", false],
      ["nobody", "correct horse", false],
      ["machine", "0123", true],
      ["machine", "012", false],
      ["__proto__", "correct horse", false],
    ] as const) {
      assert.equal(await ask(doorman, user, password), accepted, `${user} with ${password}`);
    }
  });

  test("logs who failed, but neither passwords nor names that may be passwords", async () => {
    const { doorman, lines } = authenticator();
    await ask(doorman, "ana", "tr0ub4dor");
    await ask(doorman, "tr0ub4dor", "ana");
    assert.deepEqual(
      lines.of("authentication-failed").map((line) => line["detail"]),
      ["wrong password of user ana", "an unknown user"],
    );
    assert.ok(!JSON.stringify(lines.lines).includes("tr0ub4dor"));
  });

  test("logs a flood of failures in few lines", async () => {
    const { doorman, lines } = authenticator();
    for (let i = 0; i < 100; i++) await ask(doorman, "bo", `guess ${i}`);
    assert.ok(lines.lines.length <= 5, `${lines.lines.length} lines`);
  });

  test("refuses what waits beyond its maximum, but not a password that was right before", async () => {
    const { doorman, lines } = authenticator({ waitingMax: 2 });
    assert.ok(await ask(doorman, "ana", "correct horse"));
    const verdicts = await Promise.all([
      ...Array.from({ length: 5 }, (_, i) => ask(doorman, "ana", `guess ${i}`)),
      ask(doorman, "ana", "correct horse"),
    ]);
    assert.deepEqual(verdicts, [false, false, false, false, false, true]);
    assert.equal(lines.of("authentication-failed").filter((line) => line["reason"] === "busy").length, 2);
  });

  test("remembers no more than its maximum", async () => {
    const { doorman } = authenticator({ rememberedMax: 1, waitingMax: 1 });
    assert.ok(await ask(doorman, "ana", "correct horse"));
    assert.equal(AUTHENTICATOR_DEFAULTS.rememberedMax, 1024);
    assert.ok(await ask(doorman, "ana", "correct horse"));
  });

  test("takes other passwords at once when they are replaced, also for what it remembered", async () => {
    const { doorman } = authenticator();
    assert.ok(await ask(doorman, "ana", "correct horse"));
    doorman.replace({ ana: "plain:new" });
    assert.equal(await ask(doorman, "ana", "correct horse"), false);
    assert.ok(await ask(doorman, "ana", "new"));
    assert.throws(() => doorman.replace({ ana: "nonsense" }), ConfigError);
    assert.ok(await ask(doorman, "ana", "new"), "a bad replacement changes nothing");
  });

  test("a password that is being checked while it is replaced does not come in by the old one", async () => {
    const { doorman } = authenticator();
    const [first, second] = [ask(doorman, "ana", "wrong"), ask(doorman, "ana", "correct horse")];
    doorman.replace({ ana: "plain:new" });
    assert.deepEqual(await Promise.all([first, second]), [false, false]);
  });
});
