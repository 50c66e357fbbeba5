/** What has been seen so far: answers by attack and status, and everything that must never be seen. */
export interface Tally {
  /** Attack → status, or what came instead of one → how often. */
  readonly counts: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** What broke a rule, with what is needed to see it again; the first of them only. */
  readonly faults: readonly string[];
  readonly faultCount: number;
  count(attack: string, outcome: string | number): void;
  fault(attack: string, what: string): void;
}

/** So many are enough to find a bug; millions would only fill the memory. */
const KEPT_FAULTS = 50;
const SHOWN_CHARACTERS = 1500;

export function createTally(): Tally {
  const counts = new Map<string, Map<string, number>>();
  const faults: string[] = [];
  let faultCount = 0;
  return {
    counts,
    faults,
    get faultCount() {
      return faultCount;
    },
    count(attack, outcome) {
      const ofAttack = counts.get(attack) ?? new Map<string, number>();
      counts.set(attack, ofAttack);
      ofAttack.set(String(outcome), (ofAttack.get(String(outcome)) ?? 0) + 1);
    },
    fault(attack, what) {
      faultCount += 1;
      if (faults.length < KEPT_FAULTS) faults.push(`${attack}: ${what.slice(0, SHOWN_CHARACTERS)}`);
    },
  };
}
