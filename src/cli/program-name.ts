import { delimiter, dirname, relative, sep } from "node:path";

/**
 * How whoever started this program starts it again from where they are: `synod` if a shell finds that, `npx synod` for a package
 * that depends on it, else the path, as `bin/synod` in a checkout. `script` is what Node.js was started with.
 */
export function programName(
  script: string = process.argv[1] ?? "",
  directory: string = process.cwd(),
  searched: string = process.env["PATH"] ?? "",
): string {
  if (script === "") return "synod";
  if (script.includes(`${sep}node_modules${sep}`)) return "npx synod";
  if (searched.split(delimiter).includes(dirname(script))) return "synod";
  const path = relative(directory, script);
  return path.startsWith("..") ? script : path;
}
