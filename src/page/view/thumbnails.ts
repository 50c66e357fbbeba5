import { pictureFormats, titleByEnding } from '../../contract/formats.ts';
import type { Photo } from '../results/photo.ts';
import { PAGE_BACKGROUND } from '../service/requests.ts';

/** Draws thumbnails only near the visible part of the page, so that memory does not grow with the number of photos. */
export interface Thumbnails {
  show(canvas: HTMLCanvasElement, photo: Photo): void;
  release(canvas: HTMLCanvasElement): void;
  /** Frees the thumbnails of photos that are not shown. */
  forget(): void;
}

/** Pixels per side, nearly a tile on a display of double density. 230 KB each. */
const SIDE = 240;
/** The longest name of a format, in pixels. */
const TEXT_WIDTH = 200;
/** Height of a decoded photo before it is cut to a square. */
const DECODED_HEIGHT = 288;
/** Each briefly holds one photo at full size: 48 MB for 12 megapixels. */
const DECODERS = 2;
/** Thumbnails in memory, for scrolling back: 35 MB. */
const KEPT = 150;
/** Thumbnails are drawn before they become visible. */
const MARGIN = '300px';

export function createThumbnails(): Thumbnails {
  const shown = new Map<Element, Photo>();
  /** By photo id, in order of last use. null: the browser cannot show the photo. */
  const kept = new Map<number, ImageBitmap | null>();
  /** Newest first, because those are visible. */
  let wanted: HTMLCanvasElement[] = [];
  let decoding = 0;

  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!(target instanceof HTMLCanvasElement)) continue;
        if (isIntersecting) want(target);
        else clear(target);
      }
    },
    { rootMargin: MARGIN },
  );

  /** @returns undefined: it has to be decoded, perhaps again, because the answer came with a thumbnail */
  const keptOf = ({ id, embedding }: Photo) => {
    const bitmap = kept.get(id);
    return bitmap === null && embedding?.thumbnail ? undefined : bitmap;
  };

  const want = (canvas: HTMLCanvasElement) => {
    const photo = shown.get(canvas);
    if (!photo) return;
    const known = keptOf(photo);
    if (known !== undefined) {
      kept.delete(photo.id);
      kept.set(photo.id, known);
      draw(canvas, photo, known);
      return;
    }
    wanted.unshift(canvas);
    decodeNext();
  };

  const clear = (canvas: HTMLCanvasElement) => {
    wanted = wanted.filter((other) => other !== canvas);
    canvas.width = 0;
  };

  const decodeNext = () => {
    while (decoding < DECODERS) {
      const canvas = wanted.shift();
      if (!canvas) return;
      const photo = shown.get(canvas);
      if (!photo) continue;
      const known = keptOf(photo);
      if (known !== undefined) {
        draw(canvas, photo, known);
        continue;
      }
      decoding++;
      void decode(photo).then((bitmap) => {
        decoding--;
        keep(photo.id, bitmap);
        if (shown.get(canvas) === photo) draw(canvas, photo, bitmap);
        decodeNext();
      });
    }
  };

  const keep = (id: number, bitmap: ImageBitmap | null) => {
    kept.get(id)?.close();
    kept.set(id, bitmap);
    for (const [oldest, old] of kept) {
      if (kept.size <= KEPT) break;
      kept.delete(oldest);
      old?.close();
    }
  };

  return {
    show(canvas, photo) {
      shown.set(canvas, photo);
      observer.observe(canvas);
    },
    release(canvas) {
      shown.delete(canvas);
      observer.unobserve(canvas);
      clear(canvas);
    },
    forget() {
      for (const bitmap of kept.values()) bitmap?.close();
      kept.clear();
    },
  };
}

/**
 * The middle square, as the model sees it. Of a photo with a thumbnail the file is not read: most browsers cannot show
 * it, and camera raw files are large.
 * @returns null if the browser cannot show the file
 */
async function decode({ file, embedding }: Photo): Promise<ImageBitmap | null> {
  try {
    if (embedding?.thumbnail) {
      const size = { resizeWidth: SIDE, resizeHeight: SIDE, resizeQuality: 'medium' } as const;
      return await createImageBitmap(embedding.thumbnail, size);
    }
    return await decodeSquare(file).catch(() => drawSquare(file));
  } catch {
    return null;
  }
}

/** @throws if the browser cannot decode the file */
async function decodeSquare(file: File): Promise<ImageBitmap> {
  const whole = await createImageBitmap(file, { resizeHeight: DECODED_HEIGHT, resizeQuality: 'medium' });
  const { left, top, side } = middleSquare(whole);
  const size = { resizeWidth: SIDE, resizeHeight: SIDE, resizeQuality: 'medium' } as const;
  const square = await createImageBitmap(whole, left, top, side, side, size);
  whole.close();
  return square;
}

/**
 * Shows the file as an element and draws that: the only way for a photo that is cut off. It is slower.
 * @throws if the browser cannot show the file
 */
async function drawSquare(file: File): Promise<ImageBitmap> {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
    const canvas = new OffscreenCanvas(SIDE, SIDE);
    const { left, top, side } = middleSquare({ width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext('2d');
    if (context) context.imageSmoothingQuality = 'medium';
    context?.drawImage(image, left, top, side, side, 0, 0, SIDE, SIDE);
    return canvas.transferToImageBitmap();
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

function middleSquare({ width, height }: { readonly width: number; readonly height: number }) {
  const side = Math.min(width, height);
  return { left: Math.floor((width - side) / 2), top: Math.floor((height - side) / 2), side };
}

/** The formats that some browsers do not show. */
const unshownFormats = Object.fromEntries(
  Object.entries(pictureFormats).filter(([, { shownByBrowsers }]) => !shownByBrowsers),
);

/** Until its thumbnail comes, what no browser shows is a tile with the format's name. */
function draw(canvas: HTMLCanvasElement, { path }: Photo, bitmap: ImageBitmap | null): void {
  const format = bitmap ? undefined : titleByEnding(unshownFormats, path);
  canvas.classList.toggle('unshowable', bitmap === null);
  canvas.classList.toggle('named', format !== undefined);
  if (!bitmap && !format) return;
  canvas.width = SIDE;
  canvas.height = SIDE;
  const context = canvas.getContext('2d');
  if (!context) return;
  if (bitmap) {
    context.fillStyle = PAGE_BACKGROUND;
    context.fillRect(0, 0, SIDE, SIDE);
    context.drawImage(bitmap, 0, 0);
  } else if (format) {
    context.fillStyle = getComputedStyle(canvas).color;
    const font = (pixels: number) => `600 ${pixels}px system-ui, sans-serif`;
    context.font = font(48);
    const { width } = context.measureText(format);
    context.font = font(Math.min(48, (48 * TEXT_WIDTH) / width));
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(format, SIDE / 2, SIDE / 2);
  }
}
