/** Services: the deterministic state machines which Synod replicates, and the adapter that defines new ones. */
export {};
