// Profiles that are being written: another page is a look away, and what was typed must be there on the way back.

import { signal } from '@preact/signals';

import type { Draft } from '../logic/draft';

/** By the profile's name, or that of a new one. In this page's memory alone: there may be passwords in them. */
export const drafts = signal<ReadonlyMap<string, Draft>>(new Map());

export function keepDraft(name: string, draft: Draft | null): void {
  const next = new Map(drafts.value);
  if (draft === null) next.delete(name);
  else next.set(name, draft);
  drafts.value = next;
}

export function forgetDrafts(): void {
  drafts.value = new Map();
}

// The browser asks before it closes or reloads the page.
addEventListener('beforeunload', (event) => {
  if (drafts.value.size > 0) event.preventDefault();
});
