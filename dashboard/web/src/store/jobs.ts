// Commands to many rigs. The node carries them out, whether a page is open or not; here they are followed.

import { computed, signal } from '@preact/signals';

import { ask, failure, part, type Failure } from '../api/client';
import { nodeNow } from '../api/clock';
import type { Job, JobChange, JobSummary } from '../api/types';
import { follow, forgotten, jobSummary, jobTitle, LINE_WORD, toRetry } from '../logic/job';
import { done, ended, notDone } from './toast';

/** Jobs that are followed rig by rig: what this page began or looked at. Each may have 10 000 rigs. */
const MAX_FOLLOWED = 4;
/** Jobs known by their numbers alone. The node keeps as many. */
const MAX_SUMMARIES = 100;

const followed = signal<ReadonlyMap<string, Job>>(new Map());
/** Newest first; null until asked for. */
export const summaries = signal<readonly JobSummary[] | null>(null);
/** Which job's dialog is open. */
export const shownJob = signal<string | null>(null);
export const shownFailure = signal<Failure | null>(null);
/** Begun here, and not told of yet. */
const own = new Set<string>();
/** An order on its way whose answer somebody waits for; thousands of rigs take a busy node some seconds. */
export const sending = signal<object | null>(null);

export const jobInDialog = computed(() => (shownJob.value === null ? null : (followed.value.get(shownJob.value) ?? null)));
export const underWay = computed(() => (summaries.value ?? []).filter((job) => job.ended === null));

/** Rigs whose turn it is in a job, and the word for it. */
export const turns = computed<ReadonlyMap<string, string>>(() => {
  const found = new Map<string, string>();
  for (const job of followed.value.values()) {
    const word = LINE_WORD[job.verb];
    if (job.ended !== null || !word) continue;
    for (const { id, state } of job.rigs) if (id !== null && state === 'running') found.set(id, word);
  }
  return found;
});

export interface Order { verb: Job['verb']; rigs: string[]; profile?: string; from?: 'here' | 'rig'; all?: boolean }

/** Begins a job and shows it. */
export function begin(order: Order): Promise<void> {
  return send(() => ask('POST', '/jobs', order), 'The order');
}

/** Begins a job with what failed in this one, or is not known. */
export function retry(id: string): Promise<void> {
  return send(() => ask('POST', `/jobs/${part(id)}/retry`), 'The retry');
}

async function send(order: () => Promise<Job>, what: string): Promise<void> {
  const mine = {};
  closeJob();
  sending.value = mine;
  try {
    const job = await order();
    own.add(job.id);
    keep(job);
    // Whoever closed the dialog meanwhile is told when it has ended.
    if (sending.value !== mine) return;
    shownFailure.value = null;
    shownJob.value = job.id;
  } catch (thrown) {
    notDone(what, failure(thrown));
  } finally {
    if (sending.value === mine) sending.value = null;
  }
}

/** Shows a job, whoever began it. */
export function show(id: string): void {
  shownFailure.value = null;
  shownJob.value = id;
  void refresh(id);
}

export function closeJob(): void {
  shownJob.value = null;
  sending.value = null;
}

export async function loadJobs(): Promise<void> {
  const before = new Set(underWay.value.map(({ id }) => id));
  const { jobs } = await ask<{ jobs: JobSummary[] }>('GET', `/jobs?limit=${MAX_SUMMARIES}`);
  for (const { id } of jobs) before.delete(id);
  // A node that was started anew knows nothing of what was under way.
  summaries.value = (summaries.value ?? []).filter(({ id, ended }) => ended !== null || !before.has(id));
  for (const job of [...jobs].reverse()) summarise(job);
}

/** The event `job`. */
export function onJob(change: JobChange): void {
  const { changed: _, ...summary } = change;
  summarise(summary);
  const known = followed.value.get(change.id);
  if (!known) return;
  const next = follow(known, change);
  if (next === 'missed') void refresh(change.id);
  else if (next !== 'old') keep(next);
}

/** The stream begins anew: what ended in between is told by nobody. */
export function resumeJobs(): void {
  for (const job of followed.value.values()) if (job.ended === null) void refresh(job.id);
  if (summaries.value !== null) void loadJobs().catch(() => undefined);
}

/** Nobody is signed in any more. */
export function forgetJobs(): void {
  followed.value = new Map();
  summaries.value = null;
  closeJob();
  own.clear();
}

async function refresh(id: string): Promise<void> {
  try {
    keep(await ask<Job>('GET', `/jobs/${part(id)}`));
  } catch (thrown) {
    const why = failure(thrown);
    const known = followed.value.get(id);
    if (why.code === 'unknown-job' && known?.ended === null) keep(forgotten(known, nodeNow()));
    else if (!known && shownJob.value === id) shownFailure.value = why;
  }
}

function keep(job: Job): void {
  const known = followed.value.get(job.id);
  // An answer may be slower than the events after it.
  if (known && known.v > job.v) return;
  const all = new Map(followed.value);
  all.delete(job.id);
  all.set(job.id, job);
  for (const id of all.keys()) {
    if (all.size <= MAX_FOLLOWED) break;
    if (id !== shownJob.value && id !== job.id) all.delete(id);
  }
  followed.value = all;
  const { rigs: _, ...summary } = job;
  summarise(summary);
  if (job.ended === null || !own.delete(job.id) || shownJob.value === job.id) return;
  const text = `${jobTitle(job)}: ${jobSummary(job)}`;
  const action = { label: 'Show results', run: () => show(job.id) };
  if (toRetry(job) === 0) done(text, action);
  else ended(text, job.counts.failed > 0 ? 'crit' : 'warn', action);
}

function summarise(summary: JobSummary): void {
  const others = (summaries.value ?? []).filter(({ id }) => id !== summary.id);
  const before = (summaries.value ?? []).find(({ id }) => id === summary.id);
  if (before && before.v > summary.v) return;
  summaries.value = [summary, ...others].sort((a, b) => b.began - a.began || (a.id < b.id ? 1 : -1)).slice(0, MAX_SUMMARIES);
}
