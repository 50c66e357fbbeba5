const exact: ReadonlySet<string> = new Set([
  '/',
  '/health',
  '/ready',
  '/metrics',
  '/categorize',
  '/image',
  '/video',
  '/swagger',
  '/swagger/json',
]);

/** Folders of the pages' files, each of which counts as one. */
const folders = ['/assets/', '/swagger/assets/'] as const;

/** What orchestrators and Prometheus ask every few seconds. */
export const probeEndpoints: ReadonlySet<string> = new Set(['/health', '/ready', '/metrics']);

/** The endpoints that classify. */
export const workEndpoints = ['/categorize', '/image', '/video'] as const;

/** @returns what a request to this path is counted under: a known path, or `other` */
export function endpointLabel(path: string): string {
  if (exact.has(path)) return path;
  return folders.find((folder) => path.startsWith(folder)) ?? 'other';
}
