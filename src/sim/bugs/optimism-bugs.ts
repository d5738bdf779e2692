import { ByteWriter } from "../../base/index.js";
import { Barrier, type PsmrSink, Waiting } from "../../execution/index.js";
import { emptyRun, type ExecutionEvent, type ReplicaId, type Run, type SharedService } from "../../model/index.js";
import { BTREE_COMMAND_BYTES, BtreeOperation, RANGE_PAIRS_MAX, REPLY_VALUE_HEADER_BYTES } from "../../service/index.js";
import type { Disguise, MemberPlace } from "../world/index.js";
import { aroundThread, PassingThread } from "./passing-thread.js";

type Attempt = NonNullable<SharedService["attempt"]>;

/** The views of the service of a replica that was started again have another `attempt`. */
function otherAttempt(make: (attempt: Attempt, view: SharedService) => Attempt): Disguise {
  return inLaterLives((view) => {
    const attempt = view.attempt?.bind(view);
    if (attempt !== undefined) view.attempt = make(attempt, view);
  });
}

/** The views of the service of a replica that was started again are changed. */
function inLaterLives(change: (view: SharedService) => void): Disguise {
  const lives = new Map<ReplicaId, number>();
  const changed = <View extends SharedService>(view: View): View => {
    change(view);
    return view;
  };
  return {
    members: {
      service: (real, replica) => {
        const life = (lives.get(replica) ?? 0) + 1;
        lives.set(replica, life);
        if (life === 1 || replica === 0) return real;
        return {
          ...real,
          createShared: (groups) => changed(real.createShared(groups)),
          attach: (...which) => changed(real.attach(...which)),
        };
      },
    },
  };
}

/** One command of a run, as a run of its own. */
function oneOf(run: Run, index: number): Run {
  return { ...run, offsets: run.offsets.slice(index, index + 1), count: 1 };
}

function operationOf({ view, offsets }: Run, index: number): number {
  return view.getUint32((offsets[index] as number) + 4, true);
}

/** Deletes pass whatever they leave in their leaf: a sibling, so the check believes, has an item to lend. */
export const borrowIgnored = (): Disguise =>
  otherAttempt((attempt, view) => (run, first, thread, replies) => {
    let at = attempt(run, first, thread, replies);
    while (at < run.count && operationOf(run, at) === BtreeOperation.delete && isOwn(view, run, at, thread)) {
      view.execute(oneOf(run, at), replies, null);
      at = attempt(run, at + 1, thread, replies);
    }
    return at;
  });

/** Whether the leaf of a command is the thread's alone: then an insert there passes, as long as there is room. */
function isOwn(view: SharedService, { view: commands, offsets }: Run, index: number, thread: number): boolean {
  const at = (offsets[index] as number) + 8;
  const insert = runOf(BtreeOperation.insert, [commands.getUint32(at, true), commands.getUint32(at + 4, true), 0, 0]);
  const pass = new Uint8Array(1);
  view.safetyCheck(insert, thread, pass);
  return pass[0] === 1;
}

/** Inserts pass only if there is an even number of entries behind them, in whichever leaves those are. */
export const neighbourRead = (): Disguise =>
  otherAttempt((attempt, view) => (run, first, thread, replies) => {
    const { count } = run;
    for (let at = first; at < count; at++) {
      if (operationOf(run, at) === BtreeOperation.insert && entriesBehind(view, run, at) % 2 === 1) return at;
      run.count = at + 1;
      const passed = attempt(run, at, thread, replies) > at;
      run.count = count;
      if (!passed) return at;
    }
    return count;
  });

/** The entries from the key of a command on, by a range over all that there are. */
function entriesBehind(view: SharedService, { view: commands, offsets }: Run, index: number): number {
  const at = (offsets[index] as number) + 8;
  return pairsFrom(view, commands.getUint32(at, true), commands.getUint32(at + 4, true)).length / 16;
}

/** Keys and values from a key on, 16 bytes each. */
function pairsFrom(view: SharedService, low: number, high: number): Uint8Array {
  const replies = new ByteWriter();
  view.execute(runOf(BtreeOperation.range, [low, high, 0xffffffff, 0xffffffff, RANGE_PAIRS_MAX]), replies, null);
  return replies.bytes.slice(REPLY_VALUE_HEADER_BYTES + 4, replies.length);
}

/** A run of one command. */
function runOf(operation: BtreeOperation, words: readonly number[]): Run {
  const writer = new ByteWriter();
  for (const word of [BTREE_COMMAND_BYTES[operation] as number, operation, ...words]) writer.u32(word);
  return { ...emptyRun(), bytes: writer.bytes, view: writer.view, offsets: new Uint32Array(1), count: 1 };
}

/** A checkpoint is restored entry by entry: into leaves that are as full as those of a tree that has only ever grown. */
export const shapeLost = (): Disguise =>
  inLaterLives((view) => {
    const restore = view.restore.bind(view);
    view.restore = () => {
      const sink = restore();
      return { write: (...bytes) => sink.write(...bytes), finish: () => (sink.finish(), loadAnew(view)) };
    };
  });

function loadAnew(view: SharedService): void {
  const pairs = pairsFrom(view, 0, 0);
  const words = new DataView(pairs.buffer);
  for (const operation of [BtreeOperation.delete, BtreeOperation.insert]) {
    for (let at = 0; at < pairs.length; at += 16) {
      const length = (BTREE_COMMAND_BYTES[operation] as number) - 8;
      const command = Array.from({ length: length / 4 }, (_, word) => words.getUint32(at + 4 * word, true));
      view.execute(runOf(operation, command), new ByteWriter(), null);
    }
  }
}

/** A command that fails its check is executed nevertheless, and its reply thrown away; its copy executes it again. */
export const executedTwice = (): Disguise =>
  otherAttempt((attempt, view) => (run, first, thread, replies) => {
    const at = attempt(run, first, thread, replies);
    const { length } = replies;
    if (at < run.count) view.execute(oneOf(run, at), replies, null);
    replies.length = length;
    return at;
  });

/** No command is in conflict with one of its session that failed before. */
export const failedOvertaken = (): Disguise =>
  inLaterLives((view) => {
    view.conflicts = (_run, low, high) => {
      low.fill(Infinity);
      high.fill(-Infinity);
    };
  });

/** Copies of failed commands are taken for duplicates of the commands: they have the same session and number. */
export const copyLost = (): Disguise =>
  inLaterThreads(
    (inner) =>
      new (class extends PassingThread {
        #sink: PsmrSink | null = null;

        override step(event: ExecutionEvent, out: PsmrSink): void {
          this.#sink ??= { ...bound(out), ...(out.again === undefined ? {} : { again: () => {} }) };
          super.step(event, this.#sink);
        }
      })(inner),
  );

/** The methods of a sink, which may be those of a class. */
function bound(out: PsmrSink): PsmrSink {
  return {
    executed: (...event) => out.executed(...event),
    replies: () => out.replies(),
    replied: (...event) => out.replied(...event),
    readDone: (...event) => out.readDone(...event),
    wantWork: () => out.wantWork(),
    digestTaken: (...event) => out.digestTaken(...event),
    trace: (...event) => out.trace(...event),
    arrived: (...event) => out.arrived(...event),
    released: (...event) => out.released(...event),
    cutTaken: (cut) => out.cutTaken(cut),
  };
}

/** A thread executes copies of what failed there without waiting for the others. */
export const copyUnguarded = (): Disguise =>
  inLaterThreads(
    (inner, { parts }) =>
      new (class extends PassingThread {
        override step(event: ExecutionEvent, out: PsmrSink): void {
          super.step(event, out);
          const { waiting, barrier, gamma, executor } = inner.inspect();
          const lowest = 31 - Math.clz32(gamma & -gamma);
          if (waiting !== Waiting.arrivals || executor === lowest) return;
          const barriers = new Barrier(parts.psmr.memory, parts.psmr.threads);
          for (let thread = 0; thread < parts.psmr.threads; thread++) barriers.arrive(thread, barrier);
        }
      })(inner),
  );

function inLaterThreads(make: (inner: PassingThread, place: MemberPlace) => PassingThread): Disguise {
  return aroundThread((inner, place) => {
    const passing = new PassingThread(inner);
    return place.life === 1 ? passing : make(passing, place);
  });
}
