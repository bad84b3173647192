// Profiles that are being written: another page is a look away, and what was typed must be there on the way back.

import { signal } from '@preact/signals';

import type { Profile } from '../api/types';
import type { Draft } from '../logic/draft';

export interface Written {
  draft: Draft;
  /** What was there when the writing began; null for a new one. */
  from: Profile | null;
}

/** By the profile's name, or that of a new one. In this page's memory alone: there may be passwords in them. */
export const drafts = signal<ReadonlyMap<string, Written>>(new Map());

export function keepDraft(name: string, written: Written | null): void {
  const next = new Map(drafts.value);
  if (written === null) next.delete(name);
  else next.set(name, written);
  drafts.value = next;
}

export function forgetDrafts(): void {
  drafts.value = new Map();
}

// The browser asks before it closes or reloads the page.
addEventListener('beforeunload', (event) => {
  if (drafts.value.size > 0) event.preventDefault();
});
