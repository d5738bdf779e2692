/** An invariant does not hold. The run ends here; the seed replays it. */
export class WorldViolation extends Error {
  override readonly name = "WorldViolation";
  readonly invariant: string;
  constructor(invariant: string, message: string) {
    super(message);
    this.invariant = invariant;
  }
}
