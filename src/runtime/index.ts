/** Runtime: the hosts that drive the pure cores of replicas and clients with a real or simulated platform. */
export {};
