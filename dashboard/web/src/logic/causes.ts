// What wants a person, by what is wrong: two hundred rigs behind one dead switch are one thing to mend, not two hundred.

import type { Rig, State } from './rig';
import { byName } from './sort';

export interface Cause {
  shown: State;
  word: string;
  /** In the words of its first rig; null when nothing is said. */
  why: string | null;
  /** All of them say the same, to the letter. */
  same: boolean;
  /** By name. */
  rigs: Rig[];
}

const WORST: Partial<Record<State, number>> = { crit: 0, warn: 1, off: 2 };

/** What is wrong without what differs from rig to rig: numbers, and which of its miners it is. */
export function blurred(why: string): string {
  return why.toLowerCase().replace(/^[a-z][\w-]*-\d+:? /, '').replace(/\d+(?:[.,:]\d+)*/g, '#');
}

/** The worst state first, in it what hits most. */
export function causes(rigs: Iterable<Rig>): Cause[] {
  const found = new Map<string, Cause>();
  for (const rig of rigs) {
    if (WORST[rig.shown] === undefined) continue;
    const key = `${rig.shown} ${rig.why === null ? '' : blurred(rig.why)}`;
    const cause = found.get(key);
    if (!cause) {
      found.set(key, { shown: rig.shown, word: rig.word, why: rig.why, same: true, rigs: [rig] });
      continue;
    }
    cause.rigs.push(rig);
    cause.same &&= cause.why === rig.why;
  }
  const all = [...found.values()];
  for (const cause of all) cause.rigs.sort((a, b) => byName(a.name, b.name));
  return all.sort((a, b) => (WORST[a.shown] ?? 9) - (WORST[b.shown] ?? 9) || b.rigs.length - a.rigs.length || ((a.why ?? '') < (b.why ?? '') ? -1 : 1));
}

const KEYS: Partial<Record<State, string>> = { crit: 'fault', warn: 'degraded', off: 'offline' };

/** The filter that finds the rigs of a cause. */
export function filterOf({ shown, why }: Pick<Cause, 'shown' | 'why'>): string {
  const state = `state:${KEYS[shown] ?? 'attention'}`;
  return why === null ? state : `${state} why:"${blurred(why).replaceAll('"', '')}"`;
}
