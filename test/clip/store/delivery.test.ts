import { describe, expect, test } from 'bun:test';
import { judgeAnswer, TransferError } from '../../../src/clip/store/download.ts';
import type { DownloadSource } from '../../../src/clip/store/search.ts';

const known: DownloadSource = { url: 'http://host/a.pt', fileName: 'a.pt', bytes: 100, sha256: 'ab' };
const unknown: DownloadSource = { url: 'http://host/a.pt', fileName: 'a.pt' };

function judge(
  source: DownloadSource,
  present: number,
  status: number,
  headers: Record<string, string> = {},
  asked?: string,
) {
  return judgeAnswer({ status, headers: new Headers(headers) }, source, present, asked);
}

describe('an answer with a body', () => {
  test('of status 200 starts at the beginning, whatever was asked for', () => {
    expect(judge(known, 40, 200, { 'Content-Length': '100' })).toEqual({
      offset: 0,
      bytesTotal: 100,
      validator: undefined,
    });
  });

  test('of status 206 continues where the part ends', () => {
    const headers = { 'Content-Range': 'bytes 40-99/100', ETag: '"x"' };
    expect(judge(known, 40, 206, headers, '"x"')).toEqual({
      offset: 40,
      bytesTotal: 100,
      validator: '"x"',
    });
  });

  test('takes an unknown length from the head', () => {
    expect(judge(unknown, 0, 200, { 'Content-Length': '70' })).toMatchObject({ bytesTotal: 70 });
    expect(judge(unknown, 0, 200)).toMatchObject({ bytesTotal: undefined });
    expect(judge(unknown, 5, 206, { 'Content-Range': 'bytes 5-9/*' })).toMatchObject({
      bytesTotal: undefined,
    });
  });

  test('does not believe the length of a compressed body', () => {
    const headers = { 'Content-Length': '70', 'Content-Encoding': 'gzip' };
    expect(judge(unknown, 0, 200, headers)).toMatchObject({ bytesTotal: undefined });
  });

  test('is recognised later by a strong ETag or a date, never by a weak ETag', () => {
    const date = 'Thu, 01 Jan 2026 00:00:00 GMT';
    expect(judge(unknown, 0, 200, { ETag: '"x"', 'Last-Modified': date })).toMatchObject({
      validator: '"x"',
    });
    expect(judge(unknown, 0, 200, { ETag: 'W/"x"', 'Last-Modified': date })).toMatchObject({
      validator: date,
    });
    expect(judge(unknown, 0, 200, { ETag: 'W/"x"' })).toMatchObject({ validator: undefined });
  });
});

describe('an answer that does not fit the part', () => {
  const anew = { transient: true, spoilt: true };
  test.each([
    ['another range', { 'Content-Range': 'bytes 0-99/100' }],
    ['no range at all', {}],
    ['another file', { 'Content-Range': 'bytes 40-99/100', ETag: '"y"' }],
  ])('because it has %s starts the download again', (_name, headers) => {
    expect(failure(() => judge(known, 40, 206, headers, '"x"'))).toMatchObject(anew);
  });

  test('because nothing is left starts the download again', () => {
    expect(failure(() => judge(unknown, 40, 416, { 'Content-Range': 'bytes */40' }))).toMatchObject(anew);
    expect(failure(() => judge(known, 40, 416))).toMatchObject(anew);
  });
});

describe('an answer without the file', () => {
  test.each([408, 425, 429, 500, 502, 503, 504])('of status %d may be another one in a moment', (status) => {
    expect(() => judge(known, 0, status)).toThrow(new TransferError(`it answers ${status}`));
    expect(failure(() => judge(known, 0, status)).transient).toBe(true);
  });

  test.each([204, 304, 400, 401, 403, 404, 410, 416, 451])('of status %d will not change', (status) => {
    expect(failure(() => judge(known, 0, status)).transient).toBe(false);
  });

  test('but of another length will not change', () => {
    const { message, transient } = failure(() => judge(known, 0, 200, { 'Content-Length': '1234' }));
    expect({ message, transient }).toEqual({
      message: 'it offers 1,234 bytes where 100 are expected',
      transient: false,
    });
  });

  test('but with a web page will not change', () => {
    const headers = { 'Content-Type': 'text/html; charset=utf-8' };
    expect(failure(() => judge(unknown, 0, 200, headers)).transient).toBe(false);
  });
});

function failure(call: () => unknown): TransferError {
  try {
    call();
  } catch (error) {
    if (error instanceof TransferError) return error;
  }
  throw new Error('no TransferError was thrown');
}
