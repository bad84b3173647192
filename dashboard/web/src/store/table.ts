// What the Rigs table shows: filter, order, selection. All but the selection stands in the address bar.

import { batch, computed, signal } from '@preact/signals';

import { parse } from '../logic/filter';
import { needsAttention, type Rig } from '../logic/rig';
import { COLUMNS, firstWay, held, sorted, type Column, type Sort } from '../logic/sort';
import { nameRanks, now, rigs } from './live';
import { route, setQuery } from './route';

export type Show = 'all' | 'online' | 'attention' | 'offline';

const query = computed(() => route.value.query);
export const filterText = computed(() => query.value.get('f') ?? '');
export const show = computed<Show>(() => {
  const word = query.value.get('show');
  return word === 'online' || word === 'attention' || word === 'offline' ? word : 'all';
});
export const sort = computed<Sort>(() => {
  const column = query.value.get('sort') ?? 'name';
  return { column: COLUMNS.find((known) => known === column) ?? 'name', down: query.value.has('down') };
});

export const selected = signal<ReadonlySet<string>>(new Set());
/** The row that the keyboard is at. */
export const active = signal<string | null>(null);
/** The row ticked last: where a Shift-click's range begins. Not `active`, for the click itself moves that. */
export const anchor = signal<string | null>(null);
/** A pointer is over the rows, or one has the focus: nothing may jump. */
export const pointed = signal(false);
export const focused = signal(false);
const refreshed = signal(0);

/** Where the list stood when another page was opened, and with what filter and order. */
let left = { listed: '', top: 0 };

export function leaveAt(listed: string, top: number): void {
  left = { listed, top };
}

export function cameBackTo(listed: string): number {
  return left.listed === listed ? left.top : 0;
}

/** What is listed, and how: the side panel is beside it. */
export const listed = computed(() => {
  const rest = new URLSearchParams(query.value);
  rest.delete('peek');
  return rest.toString();
});

export const filter = computed(() => parse(filterText.value));

/** Columns that are asked for by what is sorted or filtered: whoever looks for hot rigs shall see how hot they are. */
export const wanted = computed<ReadonlySet<Column>>(() => {
  const keys = filter.value.keys;
  const found = new Set<Column>(COLUMNS.filter((column) => column !== 'state' && keys.has(column)));
  if (keys.has('why') || show.value === 'attention' || show.value === 'offline') found.add('state');
  found.add(sort.value.column);
  return found;
});

const SHOWS: Record<Show, (rig: Rig) => boolean> = {
  all: () => true,
  online: (rig) => rig.on === 1,
  attention: needsAttention,
  offline: (rig) => rig.on === 0,
};

const matching = computed(() => {
  const { test } = filter.value;
  const shown = SHOWS[show.value];
  return rigs.value.filter((rig) => shown(rig) && test(rig));
});

let applied = { key: '', ids: [] as string[] };

/** Rows in the order shown. `stale`: their true order is another, and waits for the person to look away. */
export const view = computed(() => {
  const { column, down } = sort.value;
  // Only ages need the clock, and those move alike: the order is right without each second of it.
  const wanted = sorted(matching.value, sort.value, nameRanks(), column === 'seen' ? now.peek() : 0);
  const key = `${column}${down}${filterText.value}\n${show.value}\n${refreshed.value}`;
  const holding = (pointed.value || focused.value) && key === applied.key;
  if (holding) {
    const alive = new Map(rigs.value.map((rig) => [rig.id, rig]));
    const shown = held(applied.ids, wanted, alive);
    applied.ids = shown.rows.map((rig) => rig.id);
    return shown;
  }
  applied = { key, ids: wanted.map((rig) => rig.id) };
  return { rows: wanted, stale: false };
});

/** Rigs that are ticked and still there, whatever the filter hides. */
export const chosen = computed(() => rigs.value.filter((rig) => selected.value.has(rig.id)));

export function applyOrder(): void {
  refreshed.value += 1;
}

export function sortBy(column: Column): void {
  const now = sort.value;
  const down = now.column === column ? !now.down : firstWay(column).down;
  setQuery({ sort: column === 'name' ? null : column, down: down ? '1' : null });
}

export function clearFilter(): void {
  setQuery({ f: null, show: null });
}

/** Takes these from what is ticked; what was ticked meanwhile stays. */
export function unselect(rigs: readonly { id: string }[]): void {
  const rest = new Set(selected.value);
  for (const { id } of rigs) rest.delete(id);
  selected.value = rest;
}

/** Nobody is signed in any more, or the page was left: nothing stays ticked. */
export function clearSelection(): void {
  batch(() => {
    selected.value = new Set();
  });
}
