import { describe, expect, test } from 'bun:test';
import { answerFormatOf } from '../../../src/http/events.ts';

describe('the format of an answer', () => {
  test.each([
    [null, 'json'],
    ['', 'json'],
    ['*/*', 'json'],
    ['text/html', 'json'],
    ['application/json', 'json'],
    ['application/x-ndjson', 'ndjson'],
    ['Text/Event-Stream', 'sse'],
    ['text/event-stream; charset=utf-8', 'sse'],
    ['text/html, text/event-stream;q=0.1', 'sse'],
    // What is named wins over "anything" of the same quality, JSON over events.
    ['text/event-stream, */*', 'sse'],
    ['*/*, application/x-ndjson', 'ndjson'],
    ['application/json, text/plain, */*', 'json'],
    ['text/event-stream, application/json', 'json'],
    // Qualities.
    ['text/event-stream;q=0.5, application/json;q=0.4', 'sse'],
    ['text/event-stream;q=0.4, application/json;q=0.5', 'json'],
    ['text/event-stream;q=0.4, application/x-ndjson;q=0.5', 'ndjson'],
    ['text/event-stream;q=0.9, */*', 'json'],
    ['text/event-stream;q=0.9, application/*', 'json'],
    ['text/event-stream; Q=0.900 , */*;q=0.899', 'sse'],
    ['text/event-stream;q=0', 'json'],
    ['text/event-stream;q=2', 'json'],
    ['text/event-stream;q=', 'json'],
    ['constructor, __proto__', 'json'],
  ] as const)('%p: %s', (accept, format) => {
    expect(answerFormatOf(new Headers(accept === null ? {} : { accept }))).toBe(format);
  });
});
