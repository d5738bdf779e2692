/** Client models: the pure machines that submit commands, recognise replies and, where asked to, predict them. */
export {};
