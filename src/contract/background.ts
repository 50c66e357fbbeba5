/**
 * What a category competes with if `others` is asked for: phrases that fit every picture a little. A category that is in
 * the picture fits better than all of them, so the most similar one counts. They are those of LERF (Kerr et al. 2023,
 * arXiv 2303.09553).
 *
 * One rule for service, command line and page: the phrases are put into the question's templates, as categories are. A
 * template moves all texts, so that one in a template cannot be compared with one without it: with the golden model, no
 * picture fits anything then (`bun run bench --only others`).
 */
export const backgroundPhrases: readonly string[] = ['object', 'things', 'stuff', 'texture'];
