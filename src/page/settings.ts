import type { Settings } from './view/question-form.ts';

const KEY = 'settings';

/** What was set before a reload of this tab. Neither photos nor the key are kept. */
export function readSettings(): Partial<Settings> {
  try {
    const saved: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? '{}');
    return isSettings(saved) ? saved : {};
  } catch {
    // Storage is switched off, or has something else.
    return {};
  }
}

export function writeSettings(settings: Settings): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Storage is switched off or full: a reload begins anew.
  }
}

function isSettings(value: unknown): value is Settings {
  if (typeof value !== 'object' || value === null) return false;
  const { texts, template, fit, several, strictness } = value as Partial<Record<keyof Settings, unknown>>;
  return (
    Array.isArray(texts) &&
    texts.every((text) => typeof text === 'string') &&
    typeof template === 'string' &&
    (fit === 'crop' || fit === 'whole' || fit === 'tiles') &&
    typeof several === 'boolean' &&
    typeof strictness === 'number'
  );
}
