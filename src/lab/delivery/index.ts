/** Delivery: groups in virtual time, from clients' commands to what threads deliver, around the real merges of `multicast`. */
export { type Delivered, type DeliveryObserver, FAILOVER_MS, type ModelOptions, MulticastModel } from "./model.js";
