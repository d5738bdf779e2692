/** Ordering: the protocols that turn the batches of one group into one agreed sequence, as interchangeable siblings. */
export {};
