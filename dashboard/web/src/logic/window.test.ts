import { expect, test } from 'vitest';

import { allToggled, extended, toggled } from './select';
import { OVERSCAN, reveal, visible } from './window';

test('only what is in sight and a little more exists', () => {
  const seen = visible(5000, 36, 36_000, 600);
  expect(seen.first).toBe(1000 - OVERSCAN);
  expect(seen.last - seen.first).toBeLessThan(40);
  expect(seen.above + (seen.last - seen.first) * 36 + seen.below).toBe(5000 * 36);
});

test('the ends hold, and so does a list that became shorter than it is scrolled', () => {
  expect(visible(3, 36, 0, 600)).toEqual({ first: 0, last: 3, above: 0, below: 0 });
  expect(visible(0, 36, 0, 600)).toEqual({ first: 0, last: 0, above: 0, below: 0 });
  const short = visible(10, 36, 90_000, 600);
  expect(short.last).toBe(10);
  expect(short.above + (short.last - short.first) * 36 + short.below).toBe(360);
  expect(visible(10, 36, -50, 600).first).toBe(0);
});

test('a row is brought into sight by the shortest way', () => {
  expect(reveal(0, 36, 100, 600, 36)).toBe(0);
  expect(reveal(5, 36, 0, 600, 36)).toBe(0);
  expect(reveal(20, 36, 0, 600, 36)).toBe(21 * 36 - 600 + 36);
});

test('ticking is by id: one, a range, or all that match', () => {
  expect([...toggled(new Set(['a']), 'a')]).toEqual([]);
  expect([...extended(new Set(['z']), ['a', 'b', 'c', 'd'], 'c', 'a')].sort()).toEqual(['a', 'b', 'c', 'z']);
  expect([...extended(new Set(), ['a', 'b'], 'gone', 'b')]).toEqual(['b']);
  const all = allToggled(new Set(['z']), ['a', 'b']);
  expect([...all].sort()).toEqual(['a', 'b', 'z']);
  expect([...allToggled(all, ['a', 'b'])]).toEqual(['z']);
});
