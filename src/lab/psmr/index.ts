/** psmr: the experiments on P-SMR. `checks.ts` are the rules that the rows are held to. */
export * from "./checks.js";
export { psmrExperiments } from "./experiments.js";
