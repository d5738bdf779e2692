/**
 * The session client: one session of one cluster, exactly once over lost links and changing leaders. Blocks leave in order
 * with dense sequence numbers, stay byte-identical however often they are sent, and are answered or failed once each. With
 * several streams there is a client for each, and that of stream 0 opens the sessions of all.
 *
 * `session-client.ts` is the machine; `ordered-window.ts` numbers the ordered blocks; `route.ts` decides where to send;
 * `openings.ts` has the sessions that are being opened; `open-block.ts` is what a submitted block is until it is answered; `config.ts` has the bounds and timeouts.
 */
export { defaultSessionClientConfig, sessionClientConfig, type SessionClientConfig } from "./config.js";
export { createSessionClient, type SessionClientInit } from "./session-client.js";
