import { encodeUtf8 } from "../../base/index.js";
import { FrameKind, type ReplicaId } from "../../model/index.js";
import type { FramePort, SimKernel, SimNetwork, SimProcess } from "../../platform/index.js";

/** Somebody with a terminal: sends administrative requests to the replicas over their client ports. */
export class Operator {
  readonly #port: FramePort;
  readonly #process: SimProcess;
  readonly #links = new Set<ReplicaId>();

  constructor(kernel: SimKernel, network: SimNetwork, replicas: readonly ReplicaId[]) {
    this.#process = kernel.spawn("operator");
    this.#port = network.dialler(this.#process, "operator", replicas);
    this.#process.after(0, () =>
      this.#port.start({
        onLink: (link, up) => {
          if (up) this.#links.add(link);
          else this.#links.delete(link);
        },
        onFrame: () => {},
        onDrain: () => {},
      }),
    );
  }

  /** True if the request was sent. */
  transferLeadership(replica: ReplicaId): boolean {
    if (!this.#links.has(replica)) return false;
    const body = this.#port.begin(replica, FrameKind.admin);
    if (body === null) return false;
    const request = encodeUtf8(JSON.stringify({ do: "transfer" }));
    body.copy(request, 0, request.length);
    this.#port.end();
    this.#port.flush();
    return true;
  }
}
