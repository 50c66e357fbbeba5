/** Texts that one request may have encoded where it puts its categories into several templates. */
export const MAX_TEXTS = 10_000;
