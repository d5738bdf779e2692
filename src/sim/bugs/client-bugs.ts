import type { Service } from "../../model/index.js";
import { type BlockClient, type BlockClientHandlers, createBlockClient } from "../../runtime/index.js";
import { kv } from "../../service/index.js";
import type { Disguise } from "../world/index.js";

type Init = Parameters<typeof createBlockClient>[0];
type Submission = Parameters<BlockClient["submit"]>;

/** A session whose callbacks and submissions pass through what `handle` and `submit` make of them. */
function through(
  init: Init,
  handle: (handlers: BlockClientHandlers) => Partial<BlockClientHandlers>,
  submit: (client: BlockClient, submission: Submission) => void,
): BlockClient {
  const { handlers } = init;
  const client = createBlockClient({
    ...init,
    handlers: {
      resolve: (token, replies) => handlers.resolve(token, replies),
      fail: (token, failure) => handlers.fail(token, failure),
      opened: () => handlers.opened(),
      ...handle(handlers),
    },
  });
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
    submit: (...submission) => submit(client, submission),
    more: (token, deadline) => client.more(token, deadline),
    close: (done) => client.close(done),
  };
}

/** A block of which nobody knows whether it was applied is reported as one that certainly was not. */
export const doubtDenied = (): Disguise => ({
  client: (init) =>
    through(
      init,
      (handlers) => ({
        fail: (token, failure) => handlers.fail(token, failure === "indeterminate" ? "try-again" : failure),
      }),
      (client, submission) => client.submit(...submission),
    ),
});

/** Tells whether a session has been moved from the leader that it began with to another. */
function leaderWatch(): (client: BlockClient) => boolean {
  let first = 0;
  return ({ leader }) => {
    if (first === 0) first = leader;
    return leader !== first;
  };
}

/** After a change of leader, reads that were put in order behind unanswered writes of their connection go unordered. */
export const readsOvertake = (): Disguise => {
  const service = kv.create();
  return {
    gateway: (init) => {
      const moved = leaderWatch();
      return through(
        init,
        () => ({}),
        (client, [token, unordered, commands, bytes, view, start, end, deadline]) => {
          const read = unordered || (moved(client) && onlyReads(service, view, start, end));
          client.submit(token, read, commands, bytes, view, start, end, deadline);
        },
      );
    },
  };
};

function onlyReads(service: Service, view: DataView, start: number, end: number): boolean {
  for (let at = start; at < end; at += view.getUint32(at, true)) if (!service.isRead(view, at)) return false;
  return true;
}

/** After a change of leader, every third ordered block leaves behind the one that was submitted after it. */
export const blocksOvertake = (): Disguise => ({
  gateway: (init) => {
    const moved = leaderWatch();
    let held: Submission | null = null;
    let count = 0;
    const release = (client: BlockClient): void => {
      const submission = held;
      held = null;
      if (submission !== null) client.submit(...submission);
    };
    return through(
      init,
      () => ({}),
      (client, submission) => {
        const [token, read, commands, bytes, , start, end, deadline] = submission;
        if (moved(client) && !read && held === null && ++count % 3 === 0) {
          const copy = bytes.slice(start, end);
          held = [token, read, commands, copy, new DataView(copy.buffer), 0, copy.length, deadline];
          init.scheduler.timer(() => release(client)).set(init.scheduler.clock.monotonicMs() + 3);
          return;
        }
        client.submit(...submission);
        if (client.open) release(client);
      },
    );
  },
});
