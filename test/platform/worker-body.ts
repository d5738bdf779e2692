/**
 * Bodies for the tests of the thread port. This module is loaded by worker threads too, so it imports nothing that differs
 * there.
 */
import { StepOutcome, type ThreadBody, type ThreadContext, type WaitPoint } from "#src/platform/index.js";

/** What a body of these tests is to do. */
export type Play =
  /** Adds 1 to a shared counter at every step, `steps` times, then says so and is done. */
  | { readonly play: "count"; readonly words: Int32Array; readonly steps: number }
  /** Takes turns with its peer at the word 0: waits until it is `mine`, then sets it to `theirs`. Done after `rounds`. */
  | {
      readonly play: "turns";
      readonly words: Int32Array;
      readonly mine: number;
      readonly theirs: number;
      readonly rounds: number;
    }
  /** Answers each message with twice its number. */
  | { readonly play: "echo" }
  /** Waits for a word for ever. */
  | { readonly play: "wait"; readonly words: Int32Array }
  /** When it is told to stop it makes three more steps and says how many. */
  | { readonly play: "finish" }
  /** Is told to stop and never ends. */
  | { readonly play: "stubborn" }
  | { readonly play: "throw in create" }
  | { readonly play: "throw in step" }
  | { readonly play: "flood"; readonly words: Int32Array; readonly messages: number };

export function createThread(context: ThreadContext): ThreadBody | Promise<ThreadBody> {
  const play = context.data as Play;
  const nowhere: WaitPoint = { words: new Int32Array(new SharedArrayBuffer(4)), index: 0, value: 0 };
  switch (play.play) {
    case "count": {
      let left = play.steps;
      return {
        waitPoint: nowhere,
        step() {
          if (left-- > 0) {
            Atomics.add(play.words, 0, 1);
            return StepOutcome.more;
          }
          context.post("counted");
          return StepOutcome.done;
        },
      };
    }
    case "turns": {
      const { words, mine, theirs } = play;
      let left = play.rounds;
      const waitPoint = { words, index: 0, value: theirs };
      return {
        waitPoint,
        step() {
          if (Atomics.load(words, 0) !== mine) return StepOutcome.wait;
          if (left-- === 0) return StepOutcome.done;
          Atomics.add(words, 1, 1);
          Atomics.store(words, 0, theirs);
          Atomics.notify(words, 0);
          return StepOutcome.more;
        },
      };
    }
    case "echo":
      return {
        waitPoint: nowhere,
        step: () => StepOutcome.idle,
        onMessage: (message) => void context.post(2 * (message as number)),
      };
    case "wait":
      return { waitPoint: { words: play.words, index: 0, value: 0 }, step: () => StepOutcome.wait };
    case "finish": {
      let left = Infinity;
      let steps = 0;
      return {
        waitPoint: nowhere,
        step() {
          if (left === Infinity) return StepOutcome.idle;
          if (left-- > 0) {
            steps++;
            return StepOutcome.more;
          }
          context.post(steps);
          return StepOutcome.done;
        },
        stop() {
          left = 3;
        },
      };
    }
    case "stubborn":
      return { waitPoint: nowhere, step: () => StepOutcome.idle, stop: () => undefined };
    case "throw in create":
      throw new Error("no body");
    case "throw in step":
      return {
        waitPoint: nowhere,
        step() {
          throw new TypeError("no step");
        },
      };
    case "flood":
      return Promise.resolve({
        waitPoint: nowhere,
        step() {
          let taken = 0;
          while (taken < play.messages && context.post(taken)) taken++;
          Atomics.store(play.words, 0, 1);
          Atomics.notify(play.words, 0);
          return StepOutcome.done;
        },
      });
  }
}
