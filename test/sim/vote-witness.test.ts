/** The witness of votes: what it must refuse at the edge of a process, and what it must let pass. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { ByteWriter } from "#src/base/index.js";
import { BatchArena } from "#src/model/index.js";
import { multiPaxos, type MultiPaxosMessage, type MultiPaxosRecord } from "#src/ordering/multi-paxos/index.js";
import type { FramePort, Identity, IdentityStore, LogStorage, ReplicaPlatform } from "#src/platform/index.js";
import { WorldViolation } from "#src/sim/index.js";
import { VoteWitness } from "#src/sim/world/vote-witness.js";

const REPLICA = 2;
/** Ballots of the first replica, rising. */
const [LOW, HIGH] = [65, 129] as const;

interface Edge {
  readonly witness: VoteWitness;
  readonly say: (message: MultiPaxosMessage) => void;
  /** A process that finds these records and keeps the nonce in its identity; `discards`: it throws the log away. */
  readonly restart: (nonce: number, records: readonly MultiPaxosRecord[], discards?: boolean) => void;
}

function edge(): Edge {
  const witness = new VoteWitness(multiPaxos.codec, 3);
  const writer = new ByteWriter();
  const peers = { begin: () => writer, end: () => writer.clear() } as unknown as FramePort;
  const platform = witness.around(REPLICA, { peers, log: {} as LogStorage } as ReplicaPlatform);
  const say = (message: MultiPaxosMessage): void => {
    const body = platform.peers.begin(1, multiPaxos.codec.kindOf(message));
    assert.ok(body !== null);
    multiPaxos.codec.encode(message, body);
    platform.peers.end();
  };
  const restart = (nonce: number, records: readonly MultiPaxosRecord[], discards = false): void => {
    const log = {
      recover: (visit, done) => {
        for (const record of records) {
          writer.clear();
          multiPaxos.codec.encodeRecord(record, writer);
          visit(writer.bytes, writer.view, 0, writer.length);
        }
        writer.clear();
        done(null, "intact", 0, []);
      },
      reset: (done) => done(null),
      start: () => {},
    } as Partial<LogStorage> as LogStorage;
    const identity = { save: (_identity, done) => done(null) } as Partial<IdentityStore> as IdentityStore;
    const next = witness.around(REPLICA, { peers, log, identity } as ReplicaPlatform);
    next.log.recover(
      () => {},
      () => {},
    );
    next.identity.save({ amnesiaNonce: nonce } as Identity, () => {});
    if (discards) next.log.reset(() => {});
    next.log.start({ onDurable: () => {}, onFatal: () => {}, onSegment: () => {} });
  };
  return { witness, say, restart };
}

const vote = (instance: number, ballot: number): MultiPaxosMessage => ({
  kind: "accepted",
  ballot,
  instance,
  executed: 0,
  checkpointed: 0,
  aside: 0,
  incarnations: [1, 1, 1],
});

function promise(
  ballot: number,
  decided: number,
  told: readonly (readonly [instance: number, ballot: number])[],
  part: { readonly chunk: number; readonly last: boolean } = { chunk: 0, last: true },
): MultiPaxosMessage {
  const batch = new BatchArena().empty(0);
  const entries = told.map(([instance, accepted]) => ({ instance, ballot: accepted, batch }));
  return { kind: "promise", ballot, ...part, decided, trimmed: 0, wallMs: 0, incarnations: [1, 1, 1], entries };
}

const refuses = (invariant: string, run: () => void): void => {
  assert.throws(run, (error) => error instanceof WorldViolation && error.invariant === invariant);
};

describe("the witness of votes", () => {
  test("a promise that keeps a vote to itself is refused: none, one in an earlier ballot, one above all that is told", () => {
    for (const told of [[], [[3, LOW - 64]], [[2, LOW]]] as const) {
      const { say } = edge();
      say(vote(3, LOW));
      refuses("votes-are-told", () => say(promise(HIGH, 1, told)));
    }
  });

  test("one that tells of it, in its ballot or a later one, passes, and so does one that holds it as decided", () => {
    for (const [decided, told] of [
      [2, [[3, LOW]]],
      [2, [[3, HIGH]]],
      [3, []],
    ] as const) {
      const { say } = edge();
      say(vote(3, LOW));
      say(promise(HIGH, decided, told));
    }
  });

  test("a promise in several chunks is judged with its last one; one with a chunk lost on the way is not", () => {
    const whole = edge();
    whole.say(vote(3, LOW));
    whole.say(vote(4, LOW));
    whole.say(promise(HIGH, 1, [[3, LOW]], { chunk: 0, last: false }));
    refuses("votes-are-told", () => whole.say(promise(HIGH, 1, [], { chunk: 1, last: true })));
    const broken = edge();
    broken.say(vote(3, LOW));
    broken.say(promise(HIGH, 1, [], { chunk: 1, last: true }));
  });

  test("a replica that has rejoined is another one", () => {
    const { witness, say } = edge();
    say(vote(3, LOW));
    witness.forgot(REPLICA);
    refuses("amnesiacs-are-silent", () => say(promise(HIGH, 1, [])));
    witness.rejoined(REPLICA);
    say(promise(HIGH, 1, []));
  });

  test("a rejoin that the log gives back counts under the nonce of the identity, whether or not it was ever reported", () => {
    for (const [stored, silent] of [
      [[{ nonce: 7 }], false],
      [[{ nonce: 5 }, { nonce: 7 }], false],
      [[{ nonce: 5 }], true],
      [[], true],
    ] as const) {
      const { witness, say, restart } = edge();
      say(vote(3, LOW));
      witness.forgot(REPLICA);
      restart(
        7,
        stored.map(({ nonce }) => ({
          kind: "rejoined",
          nonce,
          incarnation: 2,
          floorBallot: LOW,
          floorInstance: 3,
          decided: 3,
        })),
      );
      if (silent) refuses("amnesiacs-are-silent", () => say(promise(HIGH, 3, [])));
      else say(promise(HIGH, 3, []));
    }
  });

  test("a log that was thrown away gives no rejoin back", () => {
    const { witness, say, restart } = edge();
    say(vote(3, LOW));
    witness.forgot(REPLICA);
    const record = {
      kind: "rejoined",
      nonce: 7,
      incarnation: 2,
      floorBallot: LOW,
      floorInstance: 3,
      decided: 3,
    } as const;
    restart(7, [record], true);
    refuses("amnesiacs-are-silent", () => say(promise(HIGH, 3, [])));
  });

  test("no vote is said in a lower ballot than was promised", () => {
    const { say } = edge();
    say(promise(HIGH, 0, []));
    say(vote(1, HIGH));
    refuses("promises-are-kept", () => say(vote(2, LOW)));
  });
});
