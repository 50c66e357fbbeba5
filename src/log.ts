import pino from 'pino';

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Structured logging: `log.info({ files: 3 }, 'request answered')`, one JSON line an event. */
export type Log = Pick<pino.Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error'>;

/** Faults may quote what a client has sent, which may be long. */
const MAX_FAULT_LENGTH = 4000;

/** Writes to standard error: standard output is for the answers of commands. */
export function createLog(level: LogLevel): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: shortFault },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

function shortFault(fault: Error): object {
  const { type, code, message, stack } = pino.stdSerializers.err(fault);
  const shorten = (text: string | undefined) => text?.slice(0, MAX_FAULT_LENGTH);
  return { type, code, message: shorten(message), stack: shorten(stack) };
}
