/** Numbers as a person reads them. */

const whole = new Intl.NumberFormat('en');

export function count(value: number, noun: string, plural = `${noun}s`): string {
  return `${whole.format(value)} ${value === 1 ? noun : plural}`;
}

export function number(value: number): string {
  return whole.format(value);
}

/** A share of one: `87 %`, `99.7 %`, `<0.1 %`; never rounded to 0 or 100 %. */
export function percent(share: number): string {
  const value = share * 100;
  if (value > 0 && value < 0.1) return '<0.1 %';
  if (value > 99.9 && value < 100) return '>99.9 %';
  const rounded = value < 10 || value > 99 ? value.toFixed(1) : value.toFixed(0);
  return `${rounded.replace(/\.0$/, '')} %`;
}

export function bytes(value: number): string {
  if (value < 1000) return count(value, 'byte');
  const units = ['KB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let scaled = value / 1000;
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${scaled >= 99.95 ? Math.round(scaled) : scaled.toFixed(1)} ${units[unit]}`;
}

/** A duration: `8 s`, `2 min 5 s`, `1 h 3 min`. */
export function duration(seconds: number): string {
  const total = Math.max(1, Math.round(seconds));
  if (total < 60) return `${total} s`;
  const minutes = Math.floor(total / 60);
  if (minutes < 60) return total % 60 === 0 ? `${minutes} min` : `${minutes} min ${total % 60} s`;
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A position in a video: `0:12.4`, `1:02:03.0`. */
export function timecode(seconds: number): string {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  const hours = Math.floor(tenths / 36_000);
  const minutes = Math.floor(tenths / 600) % 60;
  const rest = `${String(Math.floor(tenths / 10) % 60).padStart(2, '0')}.${tenths % 10}`;
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}` : `${minutes}:${rest}`;
}

/** `red`, `red and blue`, `red, blue and 3 more` */
export function listNames(names: readonly string[], atMost = 6): string {
  if (names.length > atMost) {
    return `${names.slice(0, atMost - 1).join(', ')} and ${whole.format(names.length - atMost + 1)} more`;
  }
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
