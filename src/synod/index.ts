/** Synod: the package's main door, through which a service is defined, started, replicated and called. */
export {};
