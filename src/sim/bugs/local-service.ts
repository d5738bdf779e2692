import type { Service } from "../../model/index.js";
import type { Scheduler } from "../../platform/index.js";
import { type Disguise, PassingService } from "../world/index.js";

/** A service that knows what the machine of its replica would say if it were asked for the time: no service may ask. */
export class LocalService extends PassingService {
  protected readonly localMs: () => number;

  constructor(inner: Service, localMs: () => number) {
    super(inner);
    this.localMs = localMs;
  }
}

/** Each service of the world wrapped by what `make` gives, with the wall clock of its replica's machine. */
export function aroundService(make: (inner: Service, localMs: () => number) => Service): Disguise {
  const schedulers = new Map<number, Scheduler>();
  return {
    platform: (real, replica) => {
      schedulers.set(replica, real.scheduler);
      return real;
    },
    siblings: (real, replica) => ({
      ...real,
      createService: () => make(real.createService(), () => schedulers.get(replica)?.clock.wallMs() ?? 0),
    }),
  };
}
