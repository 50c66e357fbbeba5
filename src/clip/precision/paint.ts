/** RGB, 0 to 1 each; what is beyond is cut off. */
export type Colour = readonly [red: number, green: number, blue: number];

/** Numbers from 0 to 1, one after another. */
export type Numbers = () => number;

/** Half of all colours are strong, half are dull. */
export function anyColour(next: Numbers): Colour {
  const [red, green, blue] = [next(), next(), next()];
  if (next() < 0.5) return [red, green, blue];
  const grey = (red + green + blue) / 3;
  return mix([red, green, blue], [grey, grey, grey], 0.7);
}

/** Value noise in four octaves, each of half the size and half the strength. @param cells of the largest, a side */
export function fractal(next: Numbers, cells: number): (x: number, y: number) => number {
  const SIZE = 64;
  const lattice = Float32Array.from({ length: SIZE * SIZE }, next);
  const at = (column: number, row: number) =>
    lattice[(row & (SIZE - 1)) * SIZE + (column & (SIZE - 1))] as number;
  const smooth = (part: number) => part * part * (3 - 2 * part);
  const layer = (x: number, y: number) => {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    const [right, down] = [smooth(x - column), smooth(y - row)];
    const top = at(column, row) * (1 - right) + at(column + 1, row) * right;
    const bottom = at(column, row + 1) * (1 - right) + at(column + 1, row + 1) * right;
    return top * (1 - down) + bottom * down;
  };
  return (x, y) => {
    let [sum, strength, frequency] = [0, 8 / 15, cells];
    for (let octave = 0; octave < 4; octave++) {
      sum += strength * layer(x * frequency, y * frequency);
      strength /= 2;
      frequency *= 2;
    }
    return sum;
  };
}

export function mix(from: Colour, to: Colour, share: number): Colour {
  const part = Math.min(1, Math.max(0, share));
  return add(scale(from, 1 - part), scale(to, part));
}

export function scale([red, green, blue]: Colour, factor: number): Colour {
  return [red * factor, green * factor, blue * factor];
}

export function add(one: Colour, other: Colour): Colour {
  return [one[0] + other[0], one[1] + other[1], one[2] + other[2]];
}

/** A small generator of good quality (Tommy Ettinger's mulberry32). */
export function mulberry32(seed: number): Numbers {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
