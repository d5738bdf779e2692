/** Gateways: the protocols by which the clients of others reach a cluster. */
export * from "./resp/index.js";
