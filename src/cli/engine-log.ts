import { type Log, type LogLevel, logLevels } from '../log.ts';

/** What the engine says while it starts, as sentences for the person who waits. */
export function createEngineLog(level: LogLevel, note: (sentence: string) => void): Log {
  const write =
    (itsLevel: LogLevel) =>
    (fields: object, message?: string): void => {
      if (logLevels.indexOf(itsLevel) < logLevels.indexOf(level)) return;
      const named = Object.entries(fields).map(([name, value]) => `${name}: ${wordOf(value)}`);
      note(`${message}${named.length > 0 ? ` (${named.join(', ')})` : ''}`);
    };
  const log: Log = {
    trace: write('trace'),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: () => log,
  };
  return log;
}

function wordOf(value: unknown): string {
  if (value instanceof Error) return value.message;
  return typeof value === 'string' ? value : JSON.stringify(value);
}
