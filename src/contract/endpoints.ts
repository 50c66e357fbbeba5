/** The service's endpoints: its routes, the API document, the metrics and the log are made from this table. */
export const endpoints = {
  welcome: { method: 'GET', path: '/', kind: 'welcome', summary: 'A short welcome' },
  health: { method: 'GET', path: '/health', kind: 'probe', summary: 'Is the process running?' },
  ready: { method: 'GET', path: '/ready', kind: 'probe', summary: 'Can pictures be classified now?' },
  metrics: { method: 'GET', path: '/metrics', kind: 'probe', summary: 'Metrics for Prometheus' },
  categorize: {
    method: 'POST',
    path: '/categorize',
    kind: 'pictures',
    summary: 'The best category of every picture',
  },
  image: { method: 'POST', path: '/image', kind: 'pictures', summary: 'The best picture of every category' },
  embeddings: {
    method: 'POST',
    path: '/embeddings',
    kind: 'embeddings',
    summary: 'The embeddings of pictures and texts',
  },
  embeddings_v1: {
    method: 'POST',
    path: '/v1/embeddings',
    kind: 'embeddings',
    summary: 'The same as /embeddings, where clients of OpenAI’s API expect it',
  },
  video: {
    method: 'POST',
    path: '/video',
    kind: 'video',
    summary: 'The best frame of a video for every category',
  },
} as const;

export type EndpointName = keyof typeof endpoints;
type Kind = (typeof endpoints)[EndpointName]['kind'];

export const endpointNames = Object.keys(endpoints) as readonly EndpointName[];

/** @param kinds what the endpoints accept, or what they are for; default: all */
export function pathsOf(...kinds: readonly Kind[]): readonly string[] {
  const all = Object.values(endpoints);
  return all.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind)).map(({ path }) => path);
}
