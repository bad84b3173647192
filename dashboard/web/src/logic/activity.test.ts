import { expect, test } from 'vitest';

import type { Activity } from '../api/types';
import { below, MAX_ENTRIES, onTop, type Entries } from './activity';

/** Entries from `newest` down to `oldest`, of a journal that begins at 1. */
const page = (newest: number, oldest: number): Entries => ({
  entries: Array.from({ length: newest - oldest + 1 }, (_, at) => ({ id: newest - at }) as Activity),
  next: oldest > 1 ? oldest : null,
});

test('what is new comes on top, and what was asked for below stays', () => {
  const many = below(page(1000, 901), page(900, 101), 901);
  expect(onTop(many, page(1002, 903))).toEqual(page(1002, 103));
  const four = below(page(400, 301), page(300, 1), 301);
  expect(onTop(four, page(402, 303))).toEqual(page(402, 1));
  expect(onTop(four, page(400, 301))).toBe(four);
});

test('older ones that are asked for twice come once', () => {
  const three = below(page(400, 301), page(300, 201), 301);
  expect(below(three, page(300, 201), 201)).toEqual(three);
  expect(below(three, { entries: [], next: null }, 201).next).toBeNull();
});

test('a page that does not reach what is there stands alone: what lies between is not known', () => {
  expect(onTop(page(400, 301), page(600, 501))).toEqual(page(600, 501));
  expect(onTop({ entries: [], next: null }, page(3, 1))).toEqual(page(3, 1));
});

test('what comes by itself does not grow without end, and "Older" goes on from where it ends', () => {
  let had = page(100, 1);
  for (let newest = 150; newest <= 2000; newest += 50) had = onTop(had, page(newest, newest - 99));
  expect(had).toEqual(page(2000, 2001 - MAX_ENTRIES));
});
