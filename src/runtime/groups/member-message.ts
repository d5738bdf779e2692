/** Kinds of messages on the rings between members. */
export const MemberMessage = {
  /** A decided batch of g_all; the number is its instance. */
  decision: 1,
  /** What a thread answers for g_all: `f64 session`, then the reply block; the number is the position. */
  reply: 2,
  /** A digest that a thread took: `f64` and `f64` the nonce's halves, four `u32`; the number is the position. */
  digest: 3,
  /** A piece of a section of a cut; the number is the section. One of no bytes ends the section. */
  section: 4,
  /** The position of a thread's own stream at a cut, which is the number; its sections follow. */
  position: 5,
  /**
   * A block of kind `conservative` that a thread wants ordered in g_all: commands of its group that failed their safety check. The
   * number is the instance of g_all that the thread is at: a block that is decided behind that one says the same.
   */
  again: 6,
} as const;
