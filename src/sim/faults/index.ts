/** Faults: the nemesis that strikes a simulated world at random, as its scenario allows, and mends it in the end. */
export { Nemesis } from "./nemesis.js";
