import { resizeAndCrop } from '../../../src/clip/preprocessing.ts';
import { giveBack } from '../../../src/garbage.ts';
import { type PartRoom, readBody, receivePart } from '../../../src/http/form.ts';
import { boundaryOf, readParts } from '../../../src/http/multipart.ts';
import { createResources } from '../../../src/http/resources.ts';
import { defaultTuning } from '../../../src/http/server.ts';
import { createPictureLoader } from '../../../src/media/picture/picture.ts';
import { createPictureProcesses } from '../../../src/media/picture/picture-process.ts';
import { readPictureHeader } from '../../../src/media/sniff.ts';
import { plenty } from '../../http/plenty.ts';
import { childInput } from './child.ts';

/** Serves uploads on a free port, which it prints, and goes only so far with them. */

const stages = ['dropped', 'split', 'joined', 'checked', 'decoded'] as const;

export interface UploadInput {
  /** How far it goes; each stage contains those before it. */
  readonly stage: (typeof stages)[number];
}

const { stage } = childInput<UploadInput>();
const reaches = (wanted: UploadInput['stage']) => stages.indexOf(stage) >= stages.indexOf(wanted);

const resources = createResources(plenty, defaultTuning);

const RESOLUTION = 224;
const square = new Uint8Array(RESOLUTION * RESOLUTION * 3);
const loadPicture = createPictureLoader({
  geometry: (width, height) => resizeAndCrop(width, height, RESOLUTION),
  limits: { imageBytes: Number.MAX_SAFE_INTEGER, imagePixels: Number.MAX_SAFE_INTEGER },
  isolated: createPictureProcesses({ processes: 1, memoryBytes: 800 * 1024 ** 2 }),
});

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  async fetch(request) {
    using lease = resources.enter('pictureUploads', request);
    const body = readBody(request, lease, { uploadMs: 0, bytes: 0 });
    if (!reaches('split')) {
      for await (const _ of body) {
        // Nothing happens to it.
      }
      return new Response();
    }
    const room: PartRoom = {
      lease,
      spool: () => Promise.reject(new Error('Nothing is too large for memory here.')),
      onStorageFault: () => undefined,
    };
    for await (const { name, content } of readParts(body, boundaryOf(request.headers))) {
      if (!reaches('joined') || name !== 'files') {
        for await (const _ of content) {
          // Nothing happens to it.
        }
        continue;
      }
      const part = await receivePart(content, Number.MAX_SAFE_INTEGER, room);
      const photo = await part?.read();
      if (photo && reaches('decoded')) await loadPicture(photo, square);
      else if (photo && reaches('checked')) readPictureHeader(photo);
      if (photo) giveBack(photo);
    }
    return new Response();
  },
});
console.log(server.port);
