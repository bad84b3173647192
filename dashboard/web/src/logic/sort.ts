// The order of the table: stable, ties by name, names naturally (rig-2 before rig-10).

import { rejected, type Rig } from './rig';

export const COLUMNS = ['name', 'state', 'address', 'role', 'ping', 'score', 'hash', 'algo', 'temp', 'rej', 'watt', 'seen'] as const;
export type Column = (typeof COLUMNS)[number];
export interface Sort { column: Column; down: boolean }

/** Where the most is what one looks for: the hottest, the longest gone. */
const MOST_FIRST: ReadonlySet<Column> = new Set(['ping', 'hash', 'temp', 'rej', 'watt', 'seen']);

/** How a column is sorted when it is asked for anew. */
export function firstWay(column: Column): Sort {
  return { column, down: MOST_FIRST.has(column) };
}

const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Names compared naturally. Slow (some 6 µs), hence ranks: see `ranked`. */
export function byName(a: string, b: string): number {
  return collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0);
}

/** Place of each id in the order of names, so that a sort each second compares numbers. */
export function ranked(rigs: Iterable<Rig>): Map<string, number> {
  const order = [...rigs].sort((a, b) => byName(a.name, b.name) || (a.id < b.id ? -1 : 1));
  return new Map(order.map((rig, rank) => [rig.id, rank]));
}

const ROLES = { controller: 0, dual: 1, worker: 2 } as const;
/** What needs a person comes first. */
const STATES = { crit: 0, warn: 1, off: 2, wait: 3, idle: 4, ok: 5 } as const;

/** Value to sort by; null (not known) goes last both ways. */
function key(rig: Rig, column: Column, now: number): number | string | null {
  switch (column) {
    case 'name': return null;
    case 'address': return rig.address;
    case 'role': return ROLES[rig.role];
    case 'ping': return rig.on === 1 ? rig.ping : null;
    case 'score': return rig.score;
    case 'hash': return rig.on === 1 ? rig.hash : null;
    case 'algo': return rig.on === 1 ? rig.algo : null;
    case 'temp': return rig.on === 1 ? rig.temp : null;
    case 'rej': return rig.on === 1 ? rejected(rig) : null;
    case 'watt': return rig.on === 1 ? rig.watt : null;
    // Age, as the column shows it: smallest is the freshest.
    case 'seen': return rig.on === 1 ? 0 : rig.seen === null ? null : Math.max(1, now - rig.seen);
    case 'state': return STATES[rig.shown];
  }
}

export function sorted(rigs: Rig[], { column, down }: Sort, ranks: Map<string, number>, now: number): Rig[] {
  const sign = down ? -1 : 1;
  const rows = rigs.map((rig) => ({ rig, key: key(rig, column, now), rank: ranks.get(rig.id) ?? Number.MAX_SAFE_INTEGER }));
  rows.sort((a, b) => {
    if (column === 'name') return sign * (a.rank - b.rank);
    if (a.key === null || b.key === null) return Number(a.key === null) - Number(b.key === null) || a.rank - b.rank;
    const order =
      typeof a.key === 'string' ? byName(a.key, String(b.key)) : a.key - Number(b.key);
    return sign * order || a.rank - b.rank;
  });
  return rows.map((row) => row.rig);
}

/**
 * The order to show while a person is at the table: rows stay where they are, those gone leave, new ones come in at the
 * end. `stale` says that the true order is another.
 */
export function held(before: string[], wanted: Rig[], alive: Map<string, Rig>): { rows: Rig[]; stale: boolean } {
  const present = new Set(before);
  const rows = [...before.flatMap((id) => alive.get(id) ?? []), ...wanted.filter((rig) => !present.has(rig.id))];
  const stale = rows.length !== wanted.length || rows.some((rig, index) => rig.id !== wanted[index]?.id);
  return { rows, stale };
}
