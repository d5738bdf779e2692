import type { BlockClient } from "./block-client.js";

/** The same client, whose reads are ordered like every other command: for clusters configured so. */
export function orderedReads(client: BlockClient): BlockClient {
  return {
    get open() {
      return client.open;
    },
    get session() {
      return client.session;
    },
    get leader() {
      return client.leader;
    },
    submit: (token, _read, commands, bytes, view, start, end, deadline) => {
      client.submit(token, false, commands, bytes, view, start, end, deadline);
    },
    more: (token, deadline) => client.more(token, deadline),
    close: (done) => client.close(done),
  };
}
