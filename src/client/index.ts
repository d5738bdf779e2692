/**
 * Client models: the pure machines that submit commands, recognise replies and, where asked to, predict them. All implement
 * `ClientModel` of the model; a host gives them time and links.
 */
export * from "./session/index.js";
