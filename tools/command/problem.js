/** What a person did or has to do: a sentence, no stack trace. */
export class Problem extends Error {}
