/** Command line: the commands, options and exit codes of the `synod` program. */
export {};
