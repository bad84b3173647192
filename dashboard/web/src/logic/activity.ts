// Entries of activity as the page holds them, the newest first. Pure.

import type { Activity } from '../api/types';

export interface Entries {
  entries: readonly Activity[];
  /** Ask with `before` this for older ones; null when there are none. */
  next: number | null;
}

/** Entries that come by themselves push out what is below this; what was asked for with "Older" stays. */
export const MAX_ENTRIES = 500;

/** What comes anew on top: the newest page, which may hold what is there already. */
export function onTop(had: Entries, page: Entries): Entries {
  const newest = had.entries[0]?.id ?? -1;
  const fresh = page.entries.filter(({ id }) => id > newest);
  // Nothing of what is there: more came meanwhile than a page holds, and what lies between is not known.
  if (fresh.length === page.entries.length && page.next !== null) return page;
  if (fresh.length === 0) return had;
  const entries = [...fresh, ...had.entries];
  const kept = entries.slice(0, Math.max(MAX_ENTRIES, had.entries.length));
  return { entries: kept, next: kept.length < entries.length ? (kept.at(-1)?.id ?? null) : had.next };
}

/** What is older than `before`, below; asked for twice it comes once, and not at all when all else came anew meanwhile. */
export function below(had: Entries, page: Entries, before: number): Entries {
  if (had.next !== before) return had;
  const oldest = had.entries.at(-1)?.id ?? Infinity;
  const older = page.entries.filter(({ id }) => id < oldest);
  return older.length === 0 ? { ...had, next: page.entries.length === 0 ? null : had.next } : { entries: [...had.entries, ...older], next: page.next };
}
