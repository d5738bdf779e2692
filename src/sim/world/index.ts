/** The simulated world: machines with disks, replicas that live on them, clients, and witnesses of what they do. */
export { type CrashPoint, type CrashPointCount, crashPoints, crashPointOf, occasionOf } from "./crash-point.js";
export type { Disguise, MemberPlace } from "./disguise.js";
export type { SimMachine } from "./machine.js";
export { PassingService, PassingView } from "./passing-service.js";
export { ServiceEffects } from "./watched-service.js";
export { type Touches, touchesOf, WatchedView } from "./watched-view.js";
export { WorldViolation } from "./violation.js";
export { SimWorld } from "./world.js";
