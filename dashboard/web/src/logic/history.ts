// Numbers over time, as charts and tables need them. Unknown stays unknown: a gap, never a zero.

import type { HistorySeries } from '../api/types';
import { hashrate, UNIT_STEP, UNITS, UNKNOWN } from './format';

/** What is measured over time. */
export interface Measure {
  /** As the API calls it. */
  key: 'hashrate' | 'power' | 'shares' | 'temperature';
  title: string;
  /** Whether zero belongs to the picture: half a hashrate is half the height, half of 60 °C means nothing. */
  fromZero: boolean;
  text: (value: number | null) => string;
  /** Short labels for marks on one axis. */
  axis: (marks: number[]) => string[];
}

export const HASHRATE: Measure = { key: 'hashrate', title: 'Hashrate', fromZero: true, text: hashrate, axis: rateMarks };

const number = (unit: string, digits: number) => (value: number | null) => (value === null ? UNKNOWN : `${value.toFixed(digits)} ${unit}`.trimEnd());
const marks = (unit: string) => (all: number[]) => all.map((mark) => `${Number(mark.toFixed(2))} ${unit}`.trimEnd());

/** What a rig may measure besides, where it has something to measure with. */
export const OTHERS: readonly Measure[] = [
  { key: 'temperature', title: 'Temperature', fromZero: false, text: number('°C', 0), axis: marks('°C') },
  { key: 'power', title: 'Power', fromZero: true, text: number('W', 0), axis: marks('W') },
  { key: 'shares', title: 'Shares taken in a minute', fromZero: true, text: number('', 1), axis: marks('') },
];

export type RangeKey = '1h' | '24h' | '7d' | '30d';
export interface Range {
  key: RangeKey;
  words: string;
  seconds: number;
  /** One row of the table stands for this long, seconds. */
  row: number;
}

const HOUR = 3600;
const DAY = 24 * HOUR;
export const RANGES: readonly Range[] = [
  { key: '1h', words: 'hour', seconds: HOUR, row: 300 },
  { key: '24h', words: '24 hours', seconds: DAY, row: HOUR },
  { key: '7d', words: '7 days', seconds: 7 * DAY, row: 6 * HOUR },
  { key: '30d', words: '30 days', seconds: 30 * DAY, row: DAY },
];

export function rangeOf(key: string | null): Range {
  return RANGES.find((range) => range.key === key) ?? (RANGES[1] as Range);
}

/** Lines in one chart: more of them nobody tells apart. */
export const MAX_LINES = 8;

/** The largest by mean, by name. What is left out stands in the table. */
export function lines(series: readonly HistorySeries[]): HistorySeries[] {
  if (series.length <= MAX_LINES) return [...series];
  const largest = [...series].sort((a, b) => (facts(b.v)?.mean ?? 0) - (facts(a.v)?.mean ?? 0)).slice(0, MAX_LINES);
  return series.filter((one) => largest.includes(one));
}

export interface Facts { min: number; mean: number; max: number; known: number }

/** Null when nothing at all is known. */
export function facts(values: readonly (number | null)[]): Facts | null {
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  let known = 0;
  for (const value of values) {
    if (value === null) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
    sum += value;
    known += 1;
  }
  return known === 0 ? null : { min, mean: sum / known, max, known };
}

/** A number is written when its minute is over, and asked for each minute. */
const CURRENT_SECONDS = 180;

/** The newest number, where it is new enough to be called current. */
export function current(values: readonly (number | null)[], step: number): number | null {
  const newest = values.slice(-Math.max(2, Math.ceil(CURRENT_SECONDS / step)));
  return newest.findLast((value) => value !== null) ?? null;
}

/** What a chart shows, for whoever does not see it. */
export function sentence(measure: Measure, range: Range, series: readonly HistorySeries[]): string {
  const parts = series.flatMap(({ id, v }) => {
    const found = facts(v);
    return found ? [`${id}: minimum ${measure.text(found.min)}, mean ${measure.text(found.mean)}, maximum ${measure.text(found.max)}`] : [];
  });
  return `${measure.title} over the last ${range.words}. ${parts.length > 0 ? `${parts.join('. ')}.` : 'Nothing is known.'}`;
}

export interface TableRow { at: number; means: (number | null)[] }

/** Means of each `row` seconds, the newest first. */
export function rows(t0: number, step: number, series: readonly HistorySeries[], row: number): TableRow[] {
  const length = Math.max(0, ...series.map(({ v }) => v.length));
  const found = new Map<number, (number | null)[][]>();
  for (let at = 0; at < length; at += 1) {
    const time = t0 + at * step;
    const begin = time - (time % row);
    const columns = found.get(begin) ?? series.map(() => []);
    series.forEach(({ v }, which) => columns[which]?.push(v[at] ?? null));
    found.set(begin, columns);
  }
  return [...found].map(([at, columns]) => ({ at, means: columns.map((values) => facts(values)?.mean ?? null) })).reverse();
}

/** Places of values that stand alone between gaps: a line through one point is no line, so it gets a dot. */
export function alone(values: readonly (number | null | undefined)[]): number[] {
  const found: number[] = [];
  values.forEach((value, at) => {
    if (value != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  });
  return found;
}

/** Colours there are for lines; the last two look like a fault and like nothing, and are taken when the others are. */
const COLOURS = 8;
const WISHED = 6;

/** A colour for each name, the same one wherever it can be: it follows the name, not the place in a list. */
export function colours(names: readonly string[]): Map<string, number> {
  const given = new Map<string, number>();
  const taken = new Set<number>();
  for (const name of [...names].sort()) {
    let hash = 0;
    for (const letter of name) hash = (hash * 41 + (letter.codePointAt(0) ?? 0)) >>> 0;
    let colour = hash % WISHED;
    while (taken.size < COLOURS && taken.has(colour)) colour = (colour + 1) % COLOURS;
    taken.add(colour);
    given.set(name, colour);
  }
  return given;
}

/** Marks of an axis in one unit: that of the largest. */
function rateMarks(marks: number[]): string[] {
  let unit = 0;
  let size = 1;
  const largest = Math.max(0, ...marks.map(Math.abs));
  while (largest >= size * UNIT_STEP && unit < UNITS.length - 1) {
    size *= UNIT_STEP;
    unit += 1;
  }
  // As many decimals as tell neighbours apart, and no more.
  return marks.map((mark) => `${Number((mark / size).toFixed(3))} ${UNITS[unit]}`);
}

/** A time on the axis: the day where one begins or where marks are days, else the clock. */
export function timeMarks(marks: number[]): string[] {
  const days = (marks[1] ?? 0) - (marks[0] ?? 0) >= DAY;
  return marks.map((mark) => {
    const date = new Date(mark * 1000);
    const midnight = date.getHours() === 0 && date.getMinutes() === 0;
    return days || midnight
      ? date.toLocaleDateString([], { day: 'numeric', month: 'short' })
      : date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  });
}

/** What the last number is against the mean of all before it, as a share; null when too little is known to say. */
export function change(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  const last = known.pop();
  const before = facts(known);
  // An hour of quarters: less than that is a start, not a day to compare with.
  if (last === undefined || before === null || before.known < 4 || before.mean === 0) return null;
  return last / before.mean - 1;
}

/** SVG paths of values from zero up, in a box: the line, and what lies below it. Gaps are gaps, and a value alone is a dot. */
export function sparkPaths(values: readonly (number | null)[], width: number, height: number): { line: string; below: string } {
  const paths = { line: '', below: '' };
  const top = facts(values)?.max ?? 0;
  if (values.length < 2 || top <= 0) return paths;
  const x = (at: number) => ((at * width) / (values.length - 1)).toFixed(1);
  const y = (value: number) => (height - (value * height) / top).toFixed(1);
  values.forEach((value, at) => {
    if (value === null) return;
    const begins = (values[at - 1] ?? null) === null;
    const ends = (values[at + 1] ?? null) === null;
    const point = `${x(at)} ${y(value)}`;
    paths.line += `${begins ? 'M' : 'L'}${point}${begins && ends ? 'h.01' : ''}`;
    paths.below += `${begins ? `M${x(at)} ${height}L` : 'L'}${point}${ends ? `V${height}Z` : ''}`;
  });
  return paths;
}

/** Lines whose sizes differ by more than this need axes of their own: the small ones would lie on the floor. */
const ONE_AXIS = 20;

/** Lines grouped by size, the group of the first line first. */
export function panels(series: readonly HistorySeries[]): HistorySeries[][] {
  const sized = series.map((one) => ({ one, max: facts(one.v)?.max ?? 0 })).sort((a, b) => b.max - a.max);
  const groups: { largest: number; all: HistorySeries[] }[] = [];
  for (const { one, max } of sized) {
    const group = groups.at(-1);
    // What is zero all the time fits anywhere.
    if (group && (max === 0 || group.largest <= max * ONE_AXIS)) group.all.push(one);
    else groups.push({ largest: max, all: [one] });
  }
  const place = (group: HistorySeries[]) => Math.min(...group.map((one) => series.indexOf(one)));
  return groups.map(({ all }) => all.sort((a, b) => series.indexOf(a) - series.indexOf(b))).sort((a, b) => place(a) - place(b));
}
