import { expect, test } from 'bun:test';
import { toJsonSchema } from '@valibot/to-json-schema';
import * as schemas from '../../src/contract/schemas.ts';

/** Names of all fields, at any depth. */
function fieldsOf(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  return Object.entries(schema).flatMap(([key, value]) => [
    ...(key === 'properties' ? Object.keys(value) : []),
    ...fieldsOf(value),
  ]);
}

test('every field of every answer is in snake_case', () => {
  const all = Object.values(schemas).flatMap((schema) =>
    typeof schema === 'object' && 'kind' in schema
      ? fieldsOf(toJsonSchema(schema, { errorMode: 'ignore' }))
      : [],
  );
  expect(all).toContain('frame_rate');
  expect(all).toContain('frames_considered');
  expect(all.filter((name) => !/^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/.test(name))).toEqual([]);
});
