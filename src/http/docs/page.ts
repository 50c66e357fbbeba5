import { clientActions, errorMeanings } from '../../contract/codes.ts';

/**
 * The documentation page. All its files are on this server, so that it works without the internet, and no other server
 * learns that it was opened.
 * @param path of the request: addresses are relative to it
 */
export function pageHtml(path: string): string {
  // Relative addresses, so that the page also works below a path of a reverse proxy.
  const base = path.endsWith('/') ? '' : 'swagger/';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>classify-images</title>
<link rel="stylesheet" href="${base}assets/swagger-ui.css">
<link rel="icon" type="image/png" sizes="32x32" href="${base}assets/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="${base}assets/swagger-ui-bundle.js"></script>
<script src="${base}assets/start.js"></script>
</body>
</html>
`;
}

/** Swagger UI sets style attributes and draws with `data:` pictures. */
export const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Without `validatorUrl`, the page would send the document to a public server. */
const startScript = `window.ui = SwaggerUIBundle({
  url: new URL('../json', document.currentScript.src).href,
  dom_id: '#swagger-ui',
  validatorUrl: null,
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
`;

/** One file of the page. */
export interface Asset {
  readonly path: string;
  readonly contentType: string;
  readonly content: () => Blob | string;
}

/** Only these files of the package are served. */
export const assets: readonly Asset[] = [
  { path: 'start.js', contentType: 'text/javascript; charset=utf-8', content: () => startScript },
  packaged('swagger-ui-bundle.js', 'text/javascript; charset=utf-8'),
  packaged('swagger-ui.css', 'text/css; charset=utf-8'),
  packaged('favicon-32x32.png', 'image/png'),
];

function packaged(name: string, contentType: string): Asset {
  const specifier = `swagger-ui-dist/${name}`;
  return { path: name, contentType, content: () => Bun.file(Bun.resolveSync(specifier, import.meta.dir)) };
}

/** The introduction of the document. The list of codes is folded, so that the endpoints come first. */
export const introduction = `Sorts pictures and videos by plain words, with CLIP.

Every failure has the body \`{"error", "code", …}\`: \`error\` is a sentence for a person, \`code\` is for a program. The HTTP server itself refuses malformed requests (400, 505) and headers of more than 16 KiB (431), without a body.
Every answer has the header \`x-request-id\`: yours, if you sent one. The log line of the request has the same id.

Answers of \`/categorize\`, \`/image\` and \`/video\` have the header \`server-timing\`: the milliseconds until the answer began. \`upload\`: waiting for the body; \`queue\`: waiting for a place; \`decode\`: decoding pictures; \`batch\`: waiting for the model; \`inference\`: in the model; \`labels\`: until all categories are encoded; \`total\`: all of it. Times of pictures that are processed in parallel are added up.

<details><summary>All codes, with their statuses, and what a client should do</summary>

| code | status | client | meaning |
| --- | --- | --- | --- |
${Object.entries(errorMeanings)
  .map(([code, { status, client, meaning }]) => `| \`${code}\` | ${status} | \`${client}\` | ${meaning} |`)
  .join('\n')}

| client | what to do |
| --- | --- |
${Object.entries(clientActions)
  .map(([client, action]) => `| \`${client}\` | ${action} |`)
  .join('\n')}

The codes \`image_…\` are those of single pictures, in \`errors\` of \`files_broken\` (422). A whole request is answered with \`image_unsupported\` where that is the fault of all its broken pictures, and with \`image_too_large\` where one of them continues long after its limit.

</details>
`;
