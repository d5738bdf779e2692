import { SynodError } from "../../model/index.js";

/** A command's `execute` threw: the message is that of what it threw, and nothing of the command was applied. */
export class ServiceError extends SynodError {
  /** Name of the error that was thrown, such as `TypeError`. */
  readonly thrown: string;
  constructor(message: string, thrown = "Error") {
    super("SYNOD_SERVICE", message);
    this.thrown = thrown;
  }
}

/** A command touched a key that its `keys` did not declare, or wrote where it may only read. Nothing of it was applied. */
export class UndeclaredKeyError extends SynodError {
  constructor(message: string) {
    super("SYNOD_UNDECLARED_KEY", message);
  }
}

/** A service used something that differs between replicas: a clock, chance, a timer, the machine. Nothing was applied. */
export class DeterminismError extends SynodError {
  constructor(message: string) {
    super("SYNOD_DETERMINISM", message);
  }
}

/** A value, an argument or a key is of a kind or a size that can't be stored or sent. Nothing was applied. */
export class ValueError extends SynodError {
  constructor(message: string) {
    super("SYNOD_VALUE", message);
  }
}

/**
 * A command that executes optimistically touched what other threads have. It never gets to a client: the command is taken back, and
 * executes again where it may touch that.
 */
export class StrayedError extends Error {
  constructor() {
    super("the command touched an entry of another group, and executes again among all groups that its keys name");
    this.name = "StrayedError";
  }
}
