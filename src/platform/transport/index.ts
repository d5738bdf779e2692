/** transport: see port.ts. */
export {};
