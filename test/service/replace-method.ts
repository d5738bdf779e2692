/** Puts another method in place of one, which it is given, until the returned function is called: for mistakes planted on purpose. */
export function replace<T extends object, K extends keyof T>(
  target: T,
  name: K,
  make: (before: T[K]) => T[K],
): () => void {
  const before = target[name];
  target[name] = make(before);
  return () => {
    target[name] = before;
  };
}
