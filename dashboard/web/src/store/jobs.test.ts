import { beforeEach, expect, test, vi } from 'vitest';

import type { JobChange } from '../api/types';
import { forgetJobs, loadJobs, onJob, summaries, underWay } from './jobs';

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
