import type { ResourceLimits } from '../../src/http/resources.ts';

/** More than any test needs. */
export const plenty: ResourceLimits = {
  pictureUploads: 1000,
  videoUploads: 1000,
  partBytes: 1e9,
  keptBytes: 1e9,
  labelBytes: 1e9,
  answerBytes: 1e9,
  temporaryBytes: 1e9,
};
