import type { ByteWriter } from "../../base/index.js";
import type { SnapshotSource } from "../../model/index.js";

/**
 * Whether a thread may touch the part of the service's state that is its own: from its arrival at a barrier until it goes on behind it,
 * or executes there, that part is another thread's. Snapshots of the part, whose slices the host asks for at any time, have to
 * respect that.
 */
export class OwnTurn {
  /** The thread may touch its part. */
  has = true;
  readonly #closing: SnapshotSource[] = [];

  give(): void {
    this.has = false;
  }

  take(): void {
    this.has = true;
    for (let source = this.#closing.pop(); source !== undefined; source = this.#closing.pop()) source.close();
  }

  /** The source as the host sees it: out of turn its slices are empty, and it is closed when the turn comes. */
  guard(source: SnapshotSource): SnapshotSource {
    return {
      next: (writer: ByteWriter, bytesTarget: number) => !this.has || source.next(writer, bytesTarget),
      close: () => {
        if (this.has) source.close();
        else this.#closing.push(source);
      },
    };
  }
}
