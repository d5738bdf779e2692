import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

const GIT_TIMEOUT_MS = 2000;

/** The commit that this program was built from, as `1a2b3c4d5e6f`, with `+changes` behind it if files differ; null outside a git checkout. */
export async function sourceCommit(): Promise<string | null> {
  const described = await new Promise<string>((resolve) => {
    const args = ["describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+changes"];
    const cwd = fileURLToPath(new URL(".", import.meta.url));
    // Without git, or outside of a checkout, there is no commit to name.
    execFile("git", args, { cwd, timeout: GIT_TIMEOUT_MS }, (error, stdout) => resolve(error === null ? stdout : ""));
  });
  return described.trim() === "" ? null : described.trim();
}
