import { expect, test } from 'vitest';

import { alone, change, colours, current, facts, HASHRATE, lines, MAX_LINES, OTHERS, panels, rangeOf, rows, sentence, sparkPaths, timeMarks } from './history';

const rig = (id: string, ...v: (number | null)[]) => ({ id, v });

test('what is not known counts for nothing, and nothing known is no number', () => {
  expect(facts([null, 2, null, 4])).toEqual({ min: 2, mean: 3, max: 4, known: 2 });
  expect(facts([null, null])).toBeNull();
  expect(facts([])).toBeNull();
});

test('a number is current for some minutes, however fine the steps; then it is not known', () => {
  const minutes = [41, 42, null, null];
  expect(current(minutes, 60)).toBe(42);
  expect(current([...minutes, null], 60)).toBeNull();
  expect(current([42, ...Array<null>(17).fill(null)], 10)).toBe(42);
  expect(current([42, ...Array<null>(18).fill(null)], 10)).toBeNull();
  expect([current([42, null], 900), current([42, null, null], 900), current([], 900)]).toEqual([42, null, null]);
});

test('a chart is told in a sentence', () => {
  const text = sentence(HASHRATE, rangeOf('24h'), [rig('xmrig-1', 92, null, 114), rig('xmrig-2', null)]);
  expect(text).toBe('Hashrate over the last 24 hours. xmrig-1: minimum 92.00 H/s, mean 103.0 H/s, maximum 114.0 H/s.');
  expect(sentence(HASHRATE, rangeOf('1h'), [])).toContain('Nothing is known');
});

test('a span that nobody knows is the usual one', () => {
  expect([rangeOf('7d').seconds, rangeOf('a year').key, rangeOf(null).key]).toEqual([604_800, '24h', '24h']);
});

test('at most eight lines are drawn, the largest, in their own order', () => {
  const many = Array.from({ length: MAX_LINES + 2 }, (_, at) => rig(`m${at}`, at === 4 ? 0 : at));
  expect(lines(many).map(({ id }) => id)).toEqual(['m1', 'm2', 'm3', 'm5', 'm6', 'm7', 'm8', 'm9']);
  expect(lines(many.slice(0, 3))).toHaveLength(3);
});

test('a table has means of whole spans, newest first, with gaps as gaps', () => {
  const table = rows(3600 - 120, 60, [rig('a', 1, 3, null, null, 5), rig('b', 7)], 3600);
  expect(table).toEqual([
    { at: 3600, means: [5, null] },
    { at: 0, means: [2, 7] },
  ]);
  expect(rows(0, 60, [], 3600)).toEqual([]);
});

test('a value between gaps is alone', () => {
  expect(alone([1, null, 2, null, 3, 4, null, 5])).toEqual([0, 2, 7]);
  expect(alone([null, undefined])).toEqual([]);
});

test('a colour follows the name, and no two of eight are alike', () => {
  const some = colours(['rx/0', 'kawpow', 'etchash']);
  expect(colours(['etchash', 'kawpow', 'rx/0'])).toEqual(some);
  const names = Array.from({ length: 8 }, (_, at) => `xmrig-${at}`);
  expect(new Set(colours(names).values()).size).toBe(8);
  expect([...colours([...names, 'one more']).values()].every((colour) => colour < 8)).toBe(true);
});

test('marks of an axis have one unit, and no more decimals than they need', () => {
  expect(HASHRATE.axis([0, 500, 1000, 1500])).toEqual(['0 kH/s', '0.5 kH/s', '1 kH/s', '1.5 kH/s']);
  expect(HASHRATE.axis([0, 50])).toEqual(['0 H/s', '50 H/s']);
  expect(HASHRATE.axis([])).toEqual([]);
});

test('every measure has its unit, and unknown is not zero', () => {
  expect(OTHERS.map(({ text }) => text(61.4))).toEqual(['61 °C', '61 W', '61.4']);
  expect(OTHERS.map(({ text }) => text(null))).toEqual(['–', '–', '–']);
  expect(OTHERS.map(({ axis }) => axis([0, 2.5])[1])).toEqual(['2.5 °C', '2.5 W', '2.5']);
});

test('a mark at midnight says the day', () => {
  const midnight = new Date(2026, 10, 22).getTime() / 1000;
  const marks = timeMarks([midnight - 21_600, midnight, midnight + 21_600]);
  expect(marks[1]).toMatch(/22/);
  expect(marks[0]).toMatch(/18|6/);
  expect(marks[0]).not.toMatch(/21/);
  expect(timeMarks([midnight, midnight + 172_800])[1]).toMatch(/24/);
});

test('a change is against what was before, and little known is no change', () => {
  expect(change([100, 100, null, 100, 100, 110])).toBeCloseTo(0.1);
  expect(change([100, 100, 110])).toBeNull();
  expect(change([null, null])).toBeNull();
  expect(change([0, 0, 0, 0, 5])).toBeNull();
});

test('a sparkline starts at zero, breaks at gaps and shows a lone value', () => {
  const { line, below } = sparkPaths([5, 10, null, 10, null], 40, 20);
  expect(line).toBe('M0.0 10.0L10.0 0.0M30.0 0.0h.01');
  expect(below).toBe('M0.0 20L0.0 10.0L10.0 0.0V20ZM30.0 20L30.0 0.0V20Z');
  for (const nothing of [[null, null], [0, 0], [5]]) expect(sparkPaths(nothing, 40, 20).line).toBe('');
});

test('lines of very different sizes get axes of their own', () => {
  const [cpu, other, gpu, idle] = [rig('cpu', 9000, 9100), rig('other', 2000), rig('gpu', null, 31e6), rig('idle', 0)];
  expect(panels([cpu, other, gpu])).toEqual([[cpu, other], [gpu]]);
  expect(panels([gpu, idle])).toEqual([[gpu, idle]]);
  expect(panels([])).toEqual([]);
});
