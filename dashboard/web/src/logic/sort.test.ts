import { expect, test } from 'vitest';

import { rig, type Fixed, type Live } from './rig';
import { row } from './fixture';
import { firstWay, held, ranked, sorted, type Column } from './sort';

const rigs = (...changes: Partial<Fixed & Live>[]) => changes.map((change) => rig(row({ id: change.name ?? '', ...change })));
const order = (list: ReturnType<typeof rigs>, column: Column, down = false) => sorted(list, { column, down }, ranked(list), 2000).map((one) => one.name);

test('names are in natural order', () => {
  expect(order(rigs({ name: 'rig-10' }, { name: 'rig-2' }, { name: 'Rig-1' }), 'name')).toEqual(['Rig-1', 'rig-2', 'rig-10']);
  expect(order(rigs({ name: 'a' }, { name: 'b' }), 'name', true)).toEqual(['b', 'a']);
});

test('ties are broken by name, whichever way the column goes', () => {
  const list = rigs({ name: 'b', score: 5 }, { name: 'a', score: 5 }, { name: 'c', score: 9 });
  expect(order(list, 'score')).toEqual(['a', 'b', 'c']);
  expect(order(list, 'score', true)).toEqual(['c', 'a', 'b']);
});

test('what is not known is last both ways', () => {
  const list = rigs({ name: 'a', ping: null }, { name: 'b', ping: 9 }, { name: 'c', on: 0, ping: 1 }, { name: 'd', ping: 2 });
  expect(order(list, 'ping')).toEqual(['d', 'b', 'a', 'c']);
  expect(order(list, 'ping', true)).toEqual(['b', 'd', 'a', 'c']);
});

test('online is the freshest, never seen is last', () => {
  const list = rigs({ name: 'a', on: 0, seen: null }, { name: 'b', on: 0, seen: 100 }, { name: 'c', on: 1, seen: 1 }, { name: 'd', on: 0, seen: 1900 });
  expect(order(list, 'seen')).toEqual(['c', 'd', 'b', 'a']);
});

test('the hottest and the most rejected are found, and what an absent rig measured is not so now', () => {
  const list = rigs({ name: 'a', temp: 70, acc: 99, rej: 1 }, { name: 'b', temp: 90, acc: 0, rej: 0 }, { name: 'c', on: 0, temp: 95, acc: 1, rej: 9 }, { name: 'd', acc: 5, rej: 5 });
  expect(order(list, 'temp', true)).toEqual(['b', 'a', 'c', 'd']);
  expect(order(list, 'rej', true)).toEqual(['d', 'a', 'b', 'c']);
  expect([firstWay('temp').down, firstWay('seen').down, firstWay('name').down, firstWay('score').down, firstWay('state').down]).toEqual([true, true, false, false, false]);
});

test('the worst state is first', () => {
  const list = rigs({ name: 'a' }, { name: 'b', state: 'fault' }, { name: 'c', state: 'offline', on: 0 }, { name: 'd', state: 'degraded' });
  expect(order(list, 'state')).toEqual(['b', 'd', 'c', 'a']);
});

test('while held, rows stay, the gone leave, the new come in at the end, and it says so', () => {
  const [a, b, c] = rigs({ name: 'a' }, { name: 'b' }, { name: 'c' });
  if (!a || !b || !c) throw new Error('three rigs');
  const alive = new Map([a, b, c].map((one) => [one.id, one]));
  expect(held(['b', 'a', 'x'], [a, b, c], alive)).toEqual({ rows: [b, a, c], stale: true });
  expect(held(['a', 'b'], [a, b, c], alive)).toEqual({ rows: [a, b, c], stale: false });
  // What does not match any more stays until the order is made anew.
  expect(held(['a', 'b', 'c'], [a, c], alive)).toEqual({ rows: [a, b, c], stale: true });
});
