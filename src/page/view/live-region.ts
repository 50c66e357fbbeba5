/** Tells screen readers what happens, at a pace that can be listened to. */
export interface LiveRegion {
  /** Said now, instead of whatever waits. */
  say(text: string): void;
  /** Said when the last words are some time ago; only the newest counts. */
  mention(text: string): void;
}

const PACE_MS = 8000;

export function createLiveRegion(element: Element): LiveRegion {
  let spokenAt = Number.NEGATIVE_INFINITY;
  const say = (text: string) => {
    element.textContent = text;
    spokenAt = performance.now();
  };
  return {
    say,
    mention(text) {
      if (performance.now() - spokenAt >= PACE_MS) say(text);
    },
  };
}
