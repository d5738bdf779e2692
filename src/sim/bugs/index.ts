/** Planted bugs: small mistakes put between the parts of a replica from outside, each of which the simulator must find. */
export { type Bug, bugs } from "./bug.js";
