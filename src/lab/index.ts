/** Lab: the experiments of the papers, each with its expected shape, its plot and its verdict. */
export {};
