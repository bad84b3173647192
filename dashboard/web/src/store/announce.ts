// What screen readers hear of the fleet: summaries, never each row.

import { effect } from '@preact/signals';

import { plural } from '../logic/format';
import type { Counts } from '../logic/rig';
import { counts, known } from './live';
import { announced } from './toast';

const AT_MOST_EACH_MS = 10_000;

/** What changed, in a sentence; empty when nothing did that a person must know. */
export function summary(before: Counts, after: Counts): string {
  const said: string[] = [];
  const off = after.off - before.off;
  if (off > 0) said.push(`${plural(off, 'rig')} went offline`);
  if (off < 0) said.push(`${plural(-off, 'rig')} came back`);
  const faults = after.crit - before.crit;
  if (faults > 0) said.push(`${plural(faults, 'more fault')}`);
  return said.join(', ');
}

export function announceChanges(): void {
  let last: Counts | null = null;
  let timer = 0;
  effect(() => {
    const next = counts.value;
    if (!known.value) {
      last = null;
      return;
    }
    last ??= next;
    if (timer !== 0) return;
    timer = window.setTimeout(() => {
      timer = 0;
      const text = last === null ? '' : summary(last, counts.peek());
      last = counts.peek();
      if (text !== '') announced.value = text;
    }, AT_MOST_EACH_MS);
  });
}
