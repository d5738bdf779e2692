/** What a coordinator has taken and not answered: random clients that repeat themselves, beside a list of every block's fate. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { BlocksUnderway, SESSIONS_UNDERWAY_MAX } from "#src/runtime/replica/blocks-underway.js";

describe("blocks under way", () => {
  it("a block is known from when it is taken until it is answered", () => {
    const underway = new BlocksUnderway();
    assert.equal(underway.has(7, 1, 1, 3), false);
    underway.add(7, 1, 1, 3);
    underway.add(7, 1, 4, 2);
    assert.equal(underway.has(7, 1, 1, 3), true);
    assert.equal(underway.has(7, 1, 4, 2), true);
    assert.equal(underway.has(7, 1, 6, 1), false, "it has not come");
    assert.equal(underway.has(7, 1, 4, 3), false, "it is longer than what is under way");
    assert.equal(underway.has(7, 2, 1, 3), false, "it is another session's");
    underway.answered(1, 1, 3);
    assert.equal(underway.has(7, 1, 1, 3), false);
    assert.equal(underway.has(7, 1, 4, 2), true);
  });

  it("what an earlier ballot left open is taken again", () => {
    const underway = new BlocksUnderway();
    underway.add(7, 1, 1, 3);
    assert.equal(underway.has(8, 1, 1, 3), false);
    underway.add(8, 1, 4, 1);
    assert.equal(underway.has(8, 1, 1, 3), false);
    assert.equal(underway.has(8, 1, 4, 1), true);
  });

  it("what stands before or behind a gap, or in a session that was refused, is taken again", () => {
    const underway = new BlocksUnderway();
    underway.add(7, 1, 1, 3);
    underway.add(7, 1, 9, 1);
    assert.equal(underway.has(7, 1, 4, 5), false, "it is the gap");
    assert.equal(underway.has(7, 1, 1, 3), false);
    assert.equal(underway.has(7, 1, 9, 1), true);
    underway.forget(1);
    assert.equal(underway.has(7, 1, 9, 1), false);
    underway.add(7, 1, 9, 1);
    underway.clear();
    assert.equal(underway.has(7, 1, 9, 1), false);
  });

  it("is never sure of a block that was lost, whatever comes in whatever order", () => {
    const step = fc.record({
      what: fc.constantFrom("send", "send", "send", "answer", "answer", "lose", "retry", "elect"),
      sequence: fc.integer({ min: 1, max: 12 }),
      session: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const underway = new BlocksUnderway();
        let ballot = 1;
        /** Blocks of one command that are sure to be answered, by session and sequence number. */
        const sure = new Set<string>();
        const ofSession = (session: number): string[] => [...sure].filter((key) => key.startsWith(`${session}/`));
        for (const { what, sequence, session } of steps) {
          const key = `${session}/${sequence}`;
          if (what === "send") {
            const known = underway.has(ballot, session, sequence, 1);
            assert.ok(!known || sure.has(key), `${key} would never be answered`);
            if (!known) {
              underway.add(ballot, session, sequence, 1);
              sure.add(key);
            }
          } else if (what === "answer") {
            // Blocks of a session are executed in order, and so answered.
            const oldest = ofSession(session).sort((a, b) => sequenceOf(a) - sequenceOf(b))[0];
            if (oldest === undefined) continue;
            underway.answered(session, sequenceOf(oldest), 1);
            sure.delete(oldest);
          } else if (what === "retry") {
            underway.forget(session);
            for (const lost of ofSession(session)) sure.delete(lost);
          } else {
            if (what === "elect") ballot++;
            else underway.clear();
            sure.clear();
          }
        }
      }),
    );
  });

  it("knows a bounded number of sessions, and forgets the oldest", () => {
    const underway = new BlocksUnderway();
    for (let session = 1; session <= SESSIONS_UNDERWAY_MAX + 1; session++) underway.add(1, session, 1, 1);
    assert.equal(underway.sessions, SESSIONS_UNDERWAY_MAX);
    assert.equal(underway.has(1, 1, 1, 1), false);
    assert.equal(underway.has(1, SESSIONS_UNDERWAY_MAX + 1, 1, 1), true);
  });
});

const sequenceOf = (key: string): number => Number(key.split("/")[1]);
