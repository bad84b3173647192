// One rig in full: asked for while somebody looks at it, and again when its row changes.

import { useEffect, useRef, useState } from 'preact/hooks';

import { ask, failure as words, part, type Failure } from '../api/client';
import type { RigView } from '../api/types';
import { link, rigById } from './live';

/** Rows may change each second; the whole is larger, and nobody reads faster. */
const AT_MOST_EACH_MS = 2000;
/** Uptime and shares move even when the row does not. */
const AT_LEAST_EACH_MS = 10_000;

export interface RigState { view: RigView | null; failure: Failure | null; refresh: () => void }

export function useRig(id: string): RigState {
  const [view, setView] = useState<RigView | null>(null);
  const [failed, setFailed] = useState<Failure | null>(null);
  const row = rigById(id);
  const live = link.value.kind === 'live';
  const load = useRef<() => void>(() => undefined);
  const last = useRef(0);
  const timer = useRef(0);
  const state = useRef(row?.state);

  useEffect(() => {
    const abort = new AbortController();
    let busy = false;
    load.current = () => {
      if (busy || document.hidden) return;
      busy = true;
      last.current = Date.now();
      ask<RigView>('GET', `/remote/${part(id)}/stats`, undefined, abort.signal)
        .then(
          (next) => {
            setView(next);
            setFailed(null);
          },
          (thrown: unknown) => {
            if (!abort.signal.aborted) setFailed(words(thrown));
          },
        )
        .finally(() => (busy = false));
    };
    load.current();
    const often = setInterval(() => load.current(), AT_LEAST_EACH_MS);
    return () => {
      abort.abort();
      clearInterval(often);
      clearTimeout(timer.current);
    };
  }, [id]);

  useEffect(() => {
    if (!live) return;
    clearTimeout(timer.current);
    // Another state is what everybody waits for; numbers may take their time.
    const turned = row?.state !== state.current;
    state.current = row?.state;
    const due = turned ? 0 : Math.max(0, last.current + AT_MOST_EACH_MS - Date.now());
    timer.current = window.setTimeout(() => load.current(), due);
  }, [row, live]);

  return { view, failure: failed, refresh: () => load.current() };
}
