// A reporter of node:test that tells each event as one line of JSON, with the file that the test is written in.

import { inspect } from 'node:util';

const KINDS = new Set(['test:start', 'test:pass', 'test:fail']);

function told(error) {
  const cause = error?.cause ?? error;
  const text = typeof cause === 'string' ? cause : (cause?.stack ?? inspect(cause));
  const message = typeof cause === 'string' ? cause : `${cause?.name ?? 'Error'}: ${cause?.message ?? text}`;
  return { message, text: cause?.stack ? inspect(cause) : text, kind: error?.failureType ?? '' };
}

export default async function* reporter(source) {
  for await (const { type, data } of source) {
    if (!KINDS.has(type)) continue;
    const { name, nesting, file, skip, todo, details } = data;
    const line = { type, name, nesting, file, skip, todo, suite: details?.type === 'suite' };
    line.ms = details?.duration_ms;
    if (type === 'test:fail') line.error = told(details?.error);
    yield `${JSON.stringify(line)}\n`;
  }
}
