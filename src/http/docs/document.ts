import { swagger } from '@elysiajs/swagger';
import { type AnyElysia, Elysia } from 'elysia';
import { version } from '../../../package.json';
import { componentSchemas } from './open-api-schema.ts';
import { introduction } from './page.ts';

const DOCUMENT_PATH = '/swagger/json';

/**
 * The OpenAPI document of an app's routes. The plugin is part of an app that is never served, because its own page loads
 * a script from another server.
 * @param hasKey whether routes ask for a key
 */
export function createDocument(api: AnyElysia, hasKey: boolean): () => Promise<string> {
  const documented = new Elysia().use(api).use(
    swagger({
      specPath: DOCUMENT_PATH,
      documentation: {
        info: {
          title: 'classify-images',
          version,
          description: introduction,
          license: { name: 'MIT' },
        },
        tags: [
          { name: 'Pictures', description: 'Questions about pictures' },
          { name: 'Videos', description: 'Questions about a video' },
          { name: 'Service', description: 'The state of the service' },
        ],
        // Relative to the document's own address, so that it is right below a path of a reverse proxy.
        servers: [{ url: '..', description: 'This service' }],
        // Operations that need a key say so themselves.
        security: [],
        components: {
          schemas: componentSchemas(),
          ...(hasKey && {
            securitySchemes: {
              bearer: { type: 'http', scheme: 'bearer' },
              key: { type: 'apiKey', in: 'header', name: 'x-api-key' },
            },
          }),
        },
      },
    }),
  );
  let document: Promise<string> | undefined;
  const create = async () => {
    const response = await documented.handle(new Request(`http://document.invalid${DOCUMENT_PATH}`));
    return await response.text();
  };
  return () => (document ??= create());
}
