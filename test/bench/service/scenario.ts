import type { PhotoKind } from '../photos/photo-set.ts';

/** One way in which clients use the service. */
export interface Scenario {
  readonly name: string;
  readonly kind: PhotoKind;
  readonly shape:
    | { readonly clients: number; readonly photosPerRequest: number }
    /** One request. Undefined: as many as it takes to send 4 GiB. */
    | { readonly photos: number | undefined };
}

const FOUR_GIBIBYTES = 4 * 1024 ** 3;

/** Some clients with some photos each: what people's scripts and pages do. */
const few = { clients: 4, photosPerRequest: 8 } as const;

const scenarios: readonly Scenario[] = [
  { name: '12 MP photos, 4 clients × 8', kind: '12mp', shape: few },
  { name: 'cropped 12 MP, 4 clients × 8', kind: 'cropped', shape: few },
  { name: '500 px photos, 4 clients × 8', kind: '500px', shape: few },
  { name: 'phone photos, 4 clients × 8', kind: 'phone', shape: few },
  { name: '12 MP, 64 clients × 1', kind: '12mp', shape: { clients: 64, photosPerRequest: 1 } },
  { name: '500 px, 64 clients × 1', kind: '500px', shape: { clients: 64, photosPerRequest: 1 } },
  { name: '500 px, 1 client × 1', kind: '500px', shape: { clients: 1, photosPerRequest: 1 } },
  { name: '12 MP, one request of 1,000', kind: '12mp', shape: { photos: 1000 } },
  { name: 'phone, one request of 4 GiB', kind: 'phone', shape: { photos: undefined } },
];

/** @throws Error where no scenario's name holds the text */
export function scenariosNamed(text: string): readonly Scenario[] {
  const found = scenarios.filter(({ name }) => name.includes(text));
  if (found.length > 0) return found;
  throw new Error(`--scenarios: none is named so; there are ${scenarios.map(({ name }) => name).join('; ')}`);
}

/** Photos in a scenario's one request. */
export function photoCount(photos: number | undefined, meanBytes: number): number {
  return photos ?? Math.ceil(FOUR_GIBIBYTES / meanBytes);
}
