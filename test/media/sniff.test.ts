import { describe, expect, test } from 'bun:test';
import { recognisePicture, recogniseVideo } from '../../src/media/sniff.ts';
import { concat, uint32be } from './sample-pictures.ts';

/** The file type box of an ISO base media file. */
function ftyp(major: string, ...compatible: readonly string[]): Uint8Array {
  return concat(uint32be(16 + compatible.length * 4), 'ftyp', major, uint32be(0), ...compatible);
}

describe('recognisePicture', () => {
  test.each([
    ['jpeg', concat('\xff\xd8\xff\xe0')],
    ['png', concat('\x89PNG\r\n\x1a\n')],
    ['webp', concat('RIFF\x10\0\0\0WEBPVP8 ')],
    ['gif', concat('GIF87a')],
    ['gif', concat('GIF89a')],
    ['bmp', concat('BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0')],
    // A writer's mark in the reserved bytes; OS/2's headers.
    ['bmp', concat('BM\x46\0\0\0WXYZ\x36\0\0\0\x7c\0\0\0')],
    ['bmp', concat('BM\x46\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0')],
    ['bmp', concat('BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x40\0\0\0')],
    ['tiff', concat('II*\0\x08\0\0\0')],
    ['tiff', concat('MM\0*\0\0\0\x08')],
    ['tiff', concat('II+\0\x08\0\0\0')],
    ['raw', concat('II*\0\x10\0\0\0CR\x02\0')],
    ['raw', ftyp('crx ', 'isom')],
    ['raw', concat('FUJIFILMCCD-RAW 0201')],
    ['raw', concat('IIRO\x08\0\0\0')],
    ['raw', concat('IIU\0\x08\0\0\0')],
    ['avif', ftyp('avif', 'mif1', 'miaf')],
    ['avif', ftyp('mif1', 'avif', 'miaf')],
    ['avif', ftyp('avis', 'msf1', 'iso8')],
    ['heic', ftyp('heic', 'mif1')],
    ['heic', ftyp('mif1', 'heic')],
    ['heic', ftyp('heix', 'mif1')],
    ['heic', ftyp('hevc', 'msf1')],
    ['heic', ftyp('mif1')],
  ] as const)('knows a %s by its first bytes', (format, bytes) => {
    expect(recognisePicture(bytes)).toEqual({ format });
  });

  test.each([
    ['an MP4 video', ftyp('isom', 'avc1')],
    ['an MP4 video', ftyp('mp42')],
    ['a QuickTime video', ftyp('qt  ')],
    ['a QuickTime video', concat(uint32be(8), 'wide')],
    ['a JPEG XL picture', concat('\xff\x0a\0')],
    ['a JPEG XL picture', concat(uint32be(12), 'JXL \r\n\x87\n')],
    ['a JPEG 2000 picture', concat(uint32be(12), 'jP  \r\n\x87\n')],
    ['a PDF document', concat('%PDF-1.7')],
    ['a Photoshop document', concat('8BPS\0\x01')],
    ['a Matroska or WebM video', concat('\x1a\x45\xdf\xa3')],
    ['an AVI video', concat('RIFF\0\0\0\0AVI LIST')],
    ['a WAV sound', concat('RIFF\0\0\0\0WAVEfmt ')],
    ['a ZIP archive (or an office document)', concat('PK\x03\x04')],
    ['an SVG drawing', concat('<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>')],
    ['an HTML page', concat('<!DOCTYPE html><title>404</title>')],
    ['text', concat('{"error":"not found"}')],
    ['text', concat('BMW, Audi')],
    ['text', concat('BMW, Audi, Opel and others')],
    ['text', Buffer.from('Grüße, 世界')],
    ['of an unknown format', concat('\0\x01\x02\x03')],
    ['of an unknown format', ftyp('zzzz')],
  ])('calls it %s', (other, bytes) => {
    expect(recognisePicture(bytes)).toEqual({ other });
  });

  test('looks into nothing that is not there', () => {
    for (const bytes of [ftyp('avif'), concat('RIFF\0\0\0\0WEBP'), concat('MM\0*')]) {
      for (let length = 0; length < bytes.length; length++) recognisePicture(bytes.subarray(0, length));
    }
    expect(recognisePicture(new Uint8Array(0))).toEqual({ other: 'text' });
  });
});

function sniff(beginning: string) {
  return recogniseVideo(concat(beginning.padEnd(400, '\0')));
}

describe('recogniseVideo', () => {
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

  test('knows 3GP by its brand, AVI by its magic, MPEG-TS by four packets', () => {
    for (const brand of ['3gp4', '3gp6', '3g2a']) {
      expect(sniff(`\0\0\0\x14ftyp${brand}`)).toEqual({ container: 'mov' });
    }
    expect(sniff('RIFF\0\0\0\0AVI LIST')).toEqual({ container: 'avi' });
    const packet = (bytes: number) => `G${'\0'.repeat(bytes - 1)}`;
    for (const stream of [packet(188), packet(204)]) {
      expect(sniff(stream.repeat(4))).toEqual({ container: 'mpegts' });
    }
    expect(sniff(`\0\0\0\0${packet(192).repeat(4)}`)).toEqual({ container: 'mpegts' });
    expect(sniff(packet(188).repeat(3))).toEqual({ other: 'of an unknown format' });
  });

  test('names what it is instead', () => {
    const others: Readonly<Record<string, string>> = {
      'RIFF\0\0\0\0WEBPVP8 ': 'a WebP picture',
      '\xff\xd8\xff\xe0': 'a JPEG picture',
      '\x89PNG\r\n\x1a\n': 'a PNG picture',
      '\0\0\0\x1cftypavif': 'an AVIF picture',
      '\0\0\0\x1cftypheic': 'a HEIC picture',
      '#EXTM3U\n': 'a playlist',
      'FLV\x01\x05': 'a Flash video',
    };
    for (const [beginning, other] of Object.entries(others)) expect(sniff(beginning)).toEqual({ other });
  });

  test('says the same of the same bytes whether a picture or a video is wanted', () => {
    for (const bytes of [
      concat('\0\0\x01\xba'),
      concat('OggS'),
      concat('FLV\x01'),
      concat('PK\x03\x04'),
      concat('hello'),
      concat('\0\x01\x02\x03'),
      new Uint8Array(0),
    ]) {
      const asPicture = recognisePicture(bytes);
      expect(asPicture).toHaveProperty('other');
      expect<unknown>(recogniseVideo(bytes)).toEqual(asPicture);
    }
  });

  test('leaves videos with unknown brands to the demuxer', () => {
    expect(recogniseVideo(ftyp('zzzz'))).toEqual({ container: 'mov' });
    expect(recogniseVideo(ftyp('isom', 'mif1'))).toEqual({ container: 'mov' });
  });
});
