/**
 * An answer without a layout of its own (a drill's report) as readable lines: its `text` when
 * it brings one, else its fields, indented.
 */
import { printable } from './text.ts';

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const scalar = (value: unknown): string => (value === null || value === undefined ? '-' : printable(String(value)));

const isScalar = (value: unknown): boolean => value === null || typeof value !== 'object';

const fieldLines = (value: unknown, indent: string): string[] => {
  if (isScalar(value)) return [indent + scalar(value)];
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown) => {
      if (isScalar(item)) return [`${indent}- ${scalar(item)}`];
      const [first = '', ...rest] = fieldLines(item, `${indent}  `);
      return [`${indent}- ${first.trimStart()}`, ...rest];
    });
  }
  return Object.entries(value as object).flatMap(([key, item]: [string, unknown]) => {
    if (isScalar(item)) return [`${indent}${printable(key)}: ${scalar(item)}`];
    if (Array.isArray(item) && item.every(isScalar)) {
      return [`${indent}${printable(key)}: ${item.length === 0 ? '-' : item.map(scalar).join(', ')}`];
    }
    return [`${indent}${printable(key)}:`, ...fieldLines(item, `${indent}  `)];
  });
};

export const recordLines = (answer: unknown): string[] => {
  if (isRecord(answer) && typeof answer['text'] === 'string') {
    return answer['text'].trimEnd().split('\n').map(printable);
  }
  return Array.isArray(answer) && answer.length === 0 ? ['nothing'] : fieldLines(answer, '');
};
