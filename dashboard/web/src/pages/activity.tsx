// Everything that was changed, by whom, and with what result.

import { useEffect, useRef, useState } from 'preact/hooks';

import { API, ask, failure, type Failure } from '../api/client';
import { below, onTop, type Entries } from '../logic/activity';
import { exactTime } from '../logic/format';
import { jobSummary, jobTitle, toRetry } from '../logic/job';
import { loadJobs, show, summaries } from '../store/jobs';
import { activity, link, stale } from '../store/live';
import { route, setQuery } from '../store/route';
import { ActivityTable } from '../ui/activity';
import { Head } from '../ui/frame';
import { Field, Skeleton, Trouble } from '../ui/parts';
import { Shape } from '../ui/shape';

const PAGE = 100;
const FILTERS = ['target', 'who', 'action', 'result'] as const;
const LABELS: Record<(typeof FILTERS)[number], string> = { target: 'Target', who: 'Who', action: 'What', result: 'Result' };
/** Typing asks once, not for each letter. */
const TYPING_MS = 300;
/** A command to many rigs writes many entries; nobody reads faster. */
const AT_MOST_EACH_MS = 2000;

/** More jobs than this are history: what they did stands below, rig by rig. */
const MAX_JOBS = 5;

/** The last commands to many rigs, each with its results. */
function Jobs() {
  useEffect(() => void loadJobs().catch(() => undefined), []);
  const jobs = summaries.value ?? [];
  if (jobs.length === 0) return null;
  return (
    <section class="card" aria-labelledby="jobs">
      <h2 id="jobs">Commands to many rigs</h2>
      <ul class="attention">
        {jobs.slice(0, MAX_JOBS).map((job) => (
          <li key={job.id}>
            <Shape state={job.ended === null ? 'wait' : toRetry(job) > 0 ? 'crit' : 'ok'} />
            <span>{jobTitle(job)}</span>
            <span class="t2">{jobSummary(job)}</span>
            <span class="t2 sub">{exactTime(job.began)}</span>
            <button type="button" aria-label={`Results of ${jobTitle(job)}, ${exactTime(job.began)}`} onClick={() => show(job.id)}>
              Results
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

const NONE: Entries = { entries: [], next: null };

export function ActivityPage() {
  /** `of`: the filter that they were asked with; what comes late for another is of no use. */
  const [held, setHeld] = useState<(Entries & { of: string }) | null>(null);
  const [problem, setProblem] = useState<Failure | null>(null);
  const asks = useRef({ last: Date.now(), timer: 0 }).current;
  const filters = new URLSearchParams();
  for (const key of FILTERS) {
    const value = route.value.query.get(key);
    if (value) filters.set(key, value);
  }
  const asked = filters.toString();

  const get = (before: number | null, signal?: AbortSignal): Promise<Entries> => {
    const query = new URLSearchParams(asked);
    query.set('limit', String(PAGE));
    if (before !== null) query.set('before', String(before));
    return ask('GET', `/activity?${query}`, undefined, signal);
  };
  const more = (before: number | null, joined: (had: Entries, page: Entries) => Entries) => {
    get(before).then(
      (page) => {
        setHeld((had) => (had !== null && had.of !== asked ? had : { ...joined(had ?? NONE, page), of: asked }));
        setProblem(null);
      },
      (thrown: unknown) => setProblem(failure(thrown)),
    );
  };

  const refresh = useRef<() => void>(() => undefined);
  refresh.current = () => more(null, onTop);

  useEffect(() => {
    const abort = new AbortController();
    const load = () => {
      asks.last = Date.now();
      get(null, abort.signal).then(
        (page) => {
          setHeld({ ...page, of: asked });
          setProblem(null);
        },
        (thrown: unknown) => abort.signal.aborted || setProblem(failure(thrown)),
      );
    };
    const timer = setTimeout(load, held === null ? 0 : TYPING_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [asked]);

  // The stream says that there is something new; only the node knows whether a filter holds for it, and what was written
  // while there was no stream.
  const live = link.value.kind === 'live';
  useEffect(() => {
    if (!live || asks.timer !== 0) return;
    const due = Math.max(0, asks.last + AT_MOST_EACH_MS - Date.now());
    asks.timer = window.setTimeout(() => {
      asks.timer = 0;
      asks.last = Date.now();
      refresh.current();
    }, due);
  }, [activity.value, live]);
  useEffect(() => () => clearTimeout(asks.timer), []);

  const { entries, next } = held ?? {};
  return (
    <>
      <Head title="Activity">
        <a class="button" href={`${API}/activity?${asked ? `${asked}&` : ''}format=csv`} download="activity.csv">
          Export CSV
        </a>
      </Head>
      <div class={stale.value ? 'fill page dim' : 'fill page'}>
        <div class="columns narrow">
          {FILTERS.map((key) => (
            <Field key={key} label={LABELS[key]} value={route.value.query.get(key) ?? ''} onValue={(value) => setQuery({ [key]: value })} placeholder={key === 'result' ? 'ok, timeout, …' : ''} />
          ))}
        </div>
        {asked === '' && <Jobs />}
        {problem && <Trouble failure={problem} />}
        {entries === undefined && !problem && <Skeleton />}
        {entries?.length === 0 && <p class="empty">{asked === '' ? 'Nothing was changed yet.' : 'No entry matches.'}</p>}
        {entries && entries.length > 0 && (
          <div class="card">
            <ActivityTable entries={entries} />
          </div>
        )}
        {typeof next === 'number' && (
          <button type="button" onClick={() => more(next, (had, page) => below(had, page, next))}>
            Older
          </button>
        )}
      </div>
    </>
  );
}
