/** Synod: the package's main door, through which a service is defined, started, replicated and called. */
export {
  ClosedError,
  CommandError,
  ConfigError,
  IndeterminateError,
  SessionExpiredError,
  SynodError,
  TryAgainError,
} from "../model/index.js";
export {
  connect,
  type ConnectOptions,
  KvClient,
  type KvBytes,
  type KvSetOptions,
  NoAnswerError,
} from "../runtime/index.js";
