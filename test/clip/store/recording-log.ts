import type { Log } from '../../../src/log.ts';

/** A log that keeps its lines. */
export interface RecordingLog extends Log {
  readonly lines: readonly { readonly level: string; readonly text: string }[];
  /** All lines of a level, fields and sentence, as one text. */
  text(level: string): string;
}

export function recordingLog(): RecordingLog {
  const lines: { level: string; text: string }[] = [];
  const at =
    (level: string) =>
    (...said: unknown[]) => {
      lines.push({
        level,
        text: said.map((part) => (typeof part === 'string' ? part : JSON.stringify(part))).join(' '),
      });
    };
  const log: RecordingLog = {
    lines,
    text: (level) =>
      lines
        .filter((line) => line.level === level)
        .map((line) => line.text)
        .join('\n'),
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  };
  return log;
}
