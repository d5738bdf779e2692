/** storage: see port.ts. */
export {};
