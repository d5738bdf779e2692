/** scheduler: see port.ts. */
export {};
