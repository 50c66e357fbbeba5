import { parseBody, type Received } from './client.ts';

/**
 * Splits text that arrives in pieces into lines, without their line feeds. Empty lines are left out.
 * @returns a function: given the next piece, it returns the lines that the piece completes
 */
export function createLineReader(): (piece: string) => readonly string[] {
  let rest = '';
  return (piece) => {
    const lines = piece.split('\n');
    lines[0] = rest + (lines[0] ?? '');
    rest = lines.pop() ?? '';
    return lines.filter((line) => line !== '');
  };
}

/** Reads the events of a video's answer, one JSON object a line, as they arrive. */
export interface EventReader {
  /** @returns the answer, as if it had come alone; undefined until its event has come */
  read(piece: string): Received | undefined;
  /** To be asked when no more pieces come. */
  end(): Received;
}

/** @param onProgress called with the data of each `progress` event */
export function createEventReader(onProgress: (data: unknown) => void): EventReader {
  const readLines = createLineReader();
  let last: Received | undefined;
  let hasBegun = false;
  return {
    read(piece) {
      for (const line of readLines(piece)) {
        if (last) break;
        const event = eventOf(line);
        if (event?.name === 'progress') onProgress(event.data);
        // An error's code decides, not its status, which only has to be one of a failure.
        else if (event) last = { status: event.name === 'result' ? 200 : 500, body: event.data };
        else last = { status: 200, body: line };
        hasBegun = true;
      }
      return last;
    },
    end: () => last ?? { status: hasBegun ? 0 : 200, body: 'the answer broke off' },
  };
}

interface Event {
  readonly name: 'progress' | 'result' | 'error';
  readonly data: unknown;
}

function eventOf(line: string): Event | undefined {
  const value = parseBody(line);
  if (typeof value !== 'object' || value === null || !('event' in value) || !('data' in value))
    return undefined;
  const { event: name, data } = value;
  return name === 'progress' || name === 'result' || name === 'error' ? { name, data } : undefined;
}
