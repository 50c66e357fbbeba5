import { describe, expect, test } from 'bun:test';
import { sniffContainer } from '../../../src/media/video/container.ts';

function sniff(beginning: string) {
  return sniffContainer(Buffer.from(beginning.padEnd(64, '\0'), 'latin1'));
}

describe('sniffContainer', () => {
  test('knows MP4 and QuickTime by their first box, Matroska and WebM by their magic', () => {
    for (const beginning of [
      '\0\0\0\x20ftypisom',
      '\0\0\0\x18ftypqt  ',
      '\0\0\0\x08wide',
      '\0\0\0\x08moov',
      '\0\0\0\x18stypmsdh',
    ]) {
      expect(sniff(beginning)).toEqual({ container: 'mov' });
    }
    expect(sniff('\x1a\x45\xdf\xa3')).toEqual({ container: 'matroska' });
  });

  test('names what it is instead', () => {
    const others: Readonly<Record<string, string>> = {
      'RIFF\0\0\0\0AVI LIST': 'an AVI video',
      'RIFF\0\0\0\0WEBPVP8 ': 'a WebP picture',
      '\xff\xd8\xff\xe0': 'a JPEG picture',
      '\x89PNG\r\n': 'a PNG picture',
      '\0\0\0\x1cftypavif': 'an AVIF picture',
      '\0\0\0\x1cftypheic': 'a HEIC picture',
      '#EXTM3U\n': 'a playlist',
      'G@\x11\x10': 'an MPEG transport stream',
    };
    for (const [beginning, other] of Object.entries(others)) expect(sniff(beginning)).toEqual({ other });
  });

  test('guesses nothing', () => {
    expect(sniff('hello')).toEqual({ other: undefined });
    expect(sniffContainer(new Uint8Array(0))).toEqual({ other: undefined });
    expect(sniffContainer(Uint8Array.of(0, 0, 0))).toEqual({ other: undefined });
  });
});
