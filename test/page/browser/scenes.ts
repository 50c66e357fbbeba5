import { bitmap, type Colour, encodePicture } from '../../fixtures/colour-pictures.ts';

/** A made-up landscape of few colours: a sky that fades, a sun, hills. */
export interface Scene {
  readonly name: string;
  readonly sky: Colour;
  readonly sun: Colour;
  readonly hills: Colour;
  /** The category that the demo model finds. */
  readonly colour: string;
}

export const scenes: readonly Scene[] = [
  { name: 'meadow.jpg', sky: [60, 160, 70], sun: [235, 240, 150], hills: [25, 110, 40], colour: 'green' },
  { name: 'sea.jpg', sky: [50, 100, 220], sun: [220, 235, 250], hills: [20, 50, 160], colour: 'blue' },
  { name: 'desert.jpg', sky: [245, 205, 50], sun: [255, 245, 190], hills: [240, 190, 30], colour: 'yellow' },
  { name: 'evening.jpg', sky: [215, 40, 45], sun: [250, 190, 110], hills: [160, 15, 25], colour: 'red' },
  { name: 'lavender.jpg', sky: [130, 60, 175], sun: [230, 200, 240], hills: [90, 25, 130], colour: 'purple' },
  { name: 'night.jpg', sky: [14, 15, 22], sun: [90, 90, 100], hills: [5, 5, 8], colour: 'black' },
];

const HORIZON = 0.66;

/** @param variant shifts sun and hills, so that no two pictures are the same */
export async function paintScene(
  { sky, sun, hills }: Scene,
  variant = 0,
  width = 480,
  height = 360,
): Promise<Uint8Array> {
  const sunX = 0.3 + 0.4 * fraction(variant * 0.618);
  const sunY = 0.28 + 0.15 * fraction(variant * 0.377);
  const shift = variant * 1.7;
  const bmp = bitmap(width, height, (x, y) => {
    const u = x / width;
    const v = y / height;
    const ridge = HORIZON + 0.05 * Math.sin(u * 7 + shift) + 0.03 * Math.sin(u * 17 + shift * 2);
    if (v > ridge + 0.12 + 0.04 * Math.sin(u * 5 + shift)) return shade(hills, 0.8);
    if (v > ridge) return hills;
    if (Math.hypot((u - sunX) * (width / height), v - sunY) < 0.09) return sun;
    return shade(sky, 0.85 + 0.3 * v);
  });
  return await encodePicture(bmp, 'jpeg');
}

function shade([red, green, blue]: Colour, factor: number): Colour {
  return [Math.min(255, red * factor), Math.min(255, green * factor), Math.min(255, blue * factor)];
}

function fraction(value: number): number {
  return value - Math.floor(value);
}
