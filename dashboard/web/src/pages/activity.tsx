// Everything that was changed, by whom, and with what result.

import { useEffect, useState } from 'preact/hooks';

import { API, ask, failure, type Failure } from '../api/client';
import type { Activity } from '../api/types';
import { exactTime } from '../logic/format';
import { jobSummary, jobTitle, toRetry } from '../logic/job';
import { loadJobs, show, summaries } from '../store/jobs';
import { activity, stale } from '../store/live';
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

export function ActivityPage() {
  const [entries, setEntries] = useState<Activity[] | null>(null);
  const [next, setNext] = useState<number | null>(null);
  const [problem, setProblem] = useState<Failure | null>(null);
  const filters = new URLSearchParams();
  for (const key of FILTERS) {
    const value = route.value.query.get(key);
    if (value) filters.set(key, value);
  }
  const asked = filters.toString();

  const load = (before: number | null, signal?: AbortSignal) => {
    const query = new URLSearchParams(asked);
    query.set('limit', String(PAGE));
    if (before !== null) query.set('before', String(before));
    ask<{ entries: Activity[]; next: number | null }>('GET', `/activity?${query}`, undefined, signal).then(
      (page) => {
        setEntries((had) => (before === null ? page.entries : [...(had ?? []), ...page.entries]));
        setNext(page.next);
        setProblem(null);
      },
      (thrown: unknown) => {
        if (!signal?.aborted) setProblem(failure(thrown));
      },
    );
  };

  useEffect(() => {
    const abort = new AbortController();
    const timer = setTimeout(() => load(null, abort.signal), entries === null ? 0 : TYPING_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [asked]);

  // What the stream brings comes on top; only the node knows whether a filter holds for it.
  const newest = entries?.[0]?.id ?? -1;
  const fresh = activity.value.filter((entry) => entry.id > newest);
  useEffect(() => {
    if (entries === null || fresh.length === 0) return;
    if (asked === '') setEntries([...fresh, ...entries]);
    else load(null);
  }, [activity.value]);

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
        {entries === null && !problem && <Skeleton />}
        {entries?.length === 0 && <p class="empty">{asked === '' ? 'Nothing was changed yet.' : 'No entry matches.'}</p>}
        {entries && entries.length > 0 && (
          <div class="card">
            <ActivityTable entries={entries} />
          </div>
        )}
        {next !== null && (
          <button type="button" onClick={() => load(next)}>
            Older
          </button>
        )}
      </div>
    </>
  );
}
