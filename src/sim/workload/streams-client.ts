import type { Prng } from "../../base/index.js";
import { emptyRun, type GroupMapping, streamFor } from "../../model/index.js";
import type { FramePort } from "../../platform/index.js";
import { type BlockClient, type BlockClientInit, createGroupsClient } from "../../runtime/index.js";

/** Share of the blocks of one group that go through g_all nevertheless, as they may. */
const THROUGH_ALL = 0.15;

/**
 * A client of a cluster with several groups, behind the face of one with a single stream: each block goes through the stream
 * that the mapping says, by a session and a port of its own.
 */
export function connectStreams(
  init: Omit<BlockClientInit, "port">,
  ports: readonly FramePort[],
  mapping: GroupMapping,
  prng: Prng,
): BlockClient {
  const { handlers, ...others } = init;
  const client = createGroupsClient({ ...others, ports, handlersOf: () => handlers });
  const all = client.streams[0] as BlockClient;
  const run = emptyRun();
  const masks = new Uint32Array(1024);
  return {
    get open() {
      return client.streams.every((stream) => stream.open);
    },
    get session() {
      return all.session;
    },
    get leader() {
      return all.leader;
    },
    submit: (token, _read, commands, bytes, view, start, end, deadline) => {
      run.bytes = bytes;
      run.view = view;
      run.count = commands;
      let at = start;
      for (let i = 0; i < commands; i++) {
        run.offsets[i] = at;
        at += view.getUint32(at, true);
      }
      mapping.masks(run, masks);
      const fits = streamFor(masks, commands, mapping.groups, prng.below(mapping.groups));
      const stream = prng.chance(THROUGH_ALL) ? 0 : fits;
      client.submit(stream, token, commands, bytes, view, start, end, deadline);
    },
    more: () => {
      throw new Error("an ordered block is answered at once");
    },
    close: (done) => client.close(done),
  };
}
