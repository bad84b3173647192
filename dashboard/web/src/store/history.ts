// Numbers over time, asked for while somebody looks at them.

import { useEffect, useState } from 'preact/hooks';

import { ask, failure as words, type Failure } from '../api/client';
import { clockAhead, nodeNow } from '../api/clock';
import type { History } from '../api/types';
import type { Measure, Range } from '../logic/history';

/** The node writes a minute when it is over: sooner there is nothing new. */
const AGAIN_MS = 60_000;

export interface HistoryState {
  history: History | null;
  /** When it was asked for, by the node's clock, Unix seconds: where its span ends. */
  at: number;
  failure: Failure | null;
}

/** `path` is a rig's or the fleet's; `step` in seconds where another than the node's own choice is wanted. */
export function useHistory(path: string, range: Range, measure: Measure, step?: number): HistoryState {
  const [state, setState] = useState<HistoryState>({ history: null, at: 0, failure: null });
  const ahead = clockAhead();
  useEffect(() => {
    const abort = new AbortController();
    let busy = false;
    const load = () => {
      if (busy || document.hidden) return;
      busy = true;
      const at = nodeNow();
      const query = new URLSearchParams({ since: String(at - range.seconds) });
      if (step !== undefined) query.set('step', String(step));
      // The node's first measure needs no name.
      if (measure.key !== 'hashrate') query.set('measure', measure.key);
      ask<History>('GET', `${path}?${query.toString()}`, undefined, abort.signal)
        .then(
          (history) => setState({ history, at, failure: null }),
          (thrown: unknown) => {
            if (!abort.signal.aborted) setState((before) => ({ ...before, failure: words(thrown) }));
          },
        )
        .finally(() => (busy = false));
    };
    setState({ history: null, at: 0, failure: null });
    load();
    const timer = setInterval(load, AGAIN_MS);
    document.addEventListener('visibilitychange', load);
    return () => {
      abort.abort();
      clearInterval(timer);
      document.removeEventListener('visibilitychange', load);
    };
  }, [path, range.key, measure.key, step, ahead]);
  return state;
}
