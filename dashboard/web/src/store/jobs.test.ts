import { beforeEach, expect, test, vi } from 'vitest';

import type { JobChange } from '../api/types';
import { begin, closeJob, forgetJobs, loadJobs, onJob, sending, shownJob, summaries, underWay } from './jobs';
import { toasts } from './toast';

const job = (id: string, ended: number | null = null): JobChange => ({
  id, v: 1, verb: 'stop', profile: null, miner: null, by: 'session', who: null, began: 1, ended,
  counts: { waiting: ended === null ? 1 : 0, running: 0, done: ended === null ? 0 : 1, failed: 0, unknown: 0 },
});

/** The node answers with these; `meanwhile` happens while it does. */
function answers(jobs: JobChange[], meanwhile: () => void = () => undefined): void {
  vi.stubGlobal('fetch', () => {
    meanwhile();
    return Promise.resolve(new Response(JSON.stringify({ jobs })));
  });
}

beforeEach(forgetJobs);

test('what a restarted node knows nothing of is under way no more; what ended stays told', async () => {
  onJob(job('old', 5));
  onJob(job('lost'));
  onJob(job('kept'));
  answers([job('kept')]);
  await loadJobs();
  expect(underWay.value.map(({ id }) => id)).toEqual(['kept']);
  expect(summaries.value?.map(({ id }) => id)).toContain('old');
});

test('a job that begins while the others are asked for stays', async () => {
  answers([], () => onJob(job('new')));
  await loadJobs();
  expect(underWay.value.map(({ id }) => id)).toEqual(['new']);
});

/** The node takes its time over an order; the call lets it answer. */
function slow(): (answer: Response) => void {
  let tell: (answer: Response) => void = () => undefined;
  vi.stubGlobal('fetch', () => new Promise<Response>((done) => (tell = done)));
  return (answer) => tell(answer);
}

test('an order is seen to be on its way, and whoever closes that is not called back to it', async () => {
  const answer = slow();
  const first = begin({ verb: 'stop', rigs: ['a'], all: true });
  expect(sending.value).not.toBeNull();
  answer(new Response(JSON.stringify({ ...job('one'), rigs: [] })));
  await first;
  expect([sending.value, shownJob.value]).toEqual([null, 'one']);
  closeJob();
  const second = begin({ verb: 'stop', rigs: ['a'], all: true });
  closeJob();
  answer(new Response(JSON.stringify({ ...job('two'), rigs: [] })));
  await second;
  expect([sending.value, shownJob.value]).toEqual([null, null]);
  expect(underWay.value.map(({ id }) => id)).toContain('two');
});

test('of an order without an answer nobody says that it was not begun', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
  await begin({ verb: 'stop', rigs: ['a'], all: true });
  expect(toasts.value.at(-1)?.text).toContain('not known whether it was done');
  expect(sending.value).toBeNull();
});
