import { type ErrorDetails, ServiceError } from '../../errors.ts';

/** @param fault goes on after "The categories document" */
export function malformed(fault: string, details: ErrorDetails = {}): ServiceError {
  return new ServiceError(
    'categories_malformed',
    `The categories document ${fault}. Accepted are JSON, {"categories":["a","b"]} or ["a","b"], ` +
      'and text with the categories separated by commas, semicolons, tabs or lines.',
    details,
  );
}
