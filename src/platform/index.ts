/** Platform: the ports to the outside world (clock, transport, storage, worker), each with real and simulated siblings. */
export {};
