// Short words at the edge of the page.

import { signal } from '@preact/signals';

import type { Failure } from '../api/client';

export interface Toast {
  id: number;
  kind: 'ok' | 'warn' | 'crit';
  text: string;
  hint: string | null;
  /** Code and request id, for a report. */
  small: string | null;
  action: { label: string; run: () => void } | null;
}

/** More than this nobody reads; the oldest leaves first. */
const MAX_TOASTS = 3;

export const toasts = signal<Toast[]>([]);
/** What a screen reader is told, apart from toasts. */
export const announced = signal('');
let last = 0;

function show(toast: Omit<Toast, 'id'>): void {
  last += 1;
  toasts.value = [...toasts.value, { ...toast, id: last }].slice(-MAX_TOASTS);
}

export function done(text: string, action: Toast['action'] = null): void {
  show({ kind: 'ok', text, hint: null, small: null, action });
}

/** What ended, and not all of it well. */
export function ended(text: string, kind: 'crit' | 'warn', action: Toast['action']): void {
  show({ kind, text, hint: null, small: null, action });
}

/** Something to know that is no failure of the node. */
export function told(text: string, hint: string): void {
  show({ kind: 'warn', text, hint, small: null, action: null });
}

/** After these it may have been done: the answer is missing, not the deed. */
const UNSURE = new Set(['bad-answer', 'internal', 'no-server', 'not-json', 'shutting-down', 'timeout']);

/** What was to be done, and was not; or nobody knows whether it was. */
export function notDone(what: string, why: Failure): void {
  if (!UNSURE.has(why.code)) return failed(`${what}: not done`, why);
  show({ kind: 'warn', text: `${what}: not known whether it was done. ${why.detail}`, hint: 'Look at what it does now before you try again.', small: why.requestId ?? '', action: null });
}

export function failed(what: string, why: Failure): void {
  const small = [why.code, why.requestId].filter(Boolean).join(' · ');
  show({ kind: 'crit', text: `${what}: ${why.detail}`, hint: why.hint || null, small, action: null });
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}
