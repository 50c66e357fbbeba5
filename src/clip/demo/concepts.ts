/** The eleven basic colour terms of English (Berlin and Kay), and two more that pictures are full of. */
export const colours = [
  'red',
  'orange',
  'yellow',
  'green',
  'cyan',
  'blue',
  'purple',
  'pink',
  'brown',
  'beige',
  'black',
  'grey',
  'white',
] as const;

/** How much light there is, whatever its colour. */
export const brightnesses = ['dark', 'bright'] as const;

export type Colour = (typeof colours)[number];
export type Brightness = (typeof brightnesses)[number];
export type Concept = Colour | Brightness;

export const concepts: readonly Concept[] = [...colours, ...brightnesses];

/** A weighted sum of concepts, or of axes; what is not named is zero. */
export type Mixture<Name extends string> = { readonly [name in Name]?: number };

/** The parts of a mixture, typed by their names. */
export function parts<Name extends string>(mixture: Mixture<Name>): [Name, number][] {
  return Object.entries(mixture) as [Name, number][];
}

/** How strongly a colour is drawn to each of its parents. */
const KINSHIP = 0.42;

/**
 * The colours that are seen as blends of others, after Hering's opponent colours: red, yellow, green,
 * blue, black and white are pure. So an orange picture is closer to "red" and "yellow" than to "blue",
 * which is what counts when nobody offers "orange".
 */
const parents: Partial<Record<Concept, readonly Colour[]>> = {
  orange: ['red', 'yellow'],
  cyan: ['green', 'blue'],
  purple: ['red', 'blue'],
  pink: ['red', 'white'],
  brown: ['red', 'yellow', 'black'],
  beige: ['yellow', 'white'],
  grey: ['black', 'white'],
};

/**
 * A concept's unit vector in the space that both towers share: one axis a concept, orthonormal. Its own
 * axis carries what is left beside its parents' share.
 */
export function direction(concept: Concept): Mixture<Concept> {
  const kin = parents[concept] ?? [];
  const own = Math.sqrt(1 - kin.length * KINSHIP ** 2);
  return { ...Object.fromEntries(kin.map((parent) => [parent, KINSHIP])), [concept]: own };
}
