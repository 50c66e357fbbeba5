/**
 * What a category competes with if `others` is asked for: phrases that fit every picture a little. A category that is in
 * the picture fits better than all of them. Service, command line and page put them into the question's templates, as
 * they do with categories: a template brings a text closer to photos, whatever its subject. The first four are those of
 * LERF (Kerr et al. 2023, arXiv 2303.09553).
 */
export const backgroundPhrases: readonly string[] = ['object', 'things', 'stuff', 'texture'];
