import { expect, test } from 'vitest';

import type { Job, JobChange } from '../api/types';
import { follow, forgotten, jobSummary, jobTitle, reasons, toRetry, worstFirst, type Line } from './job';

const line = (name: string, state: Line['state']): Line => ({ id: null, name, state, code: null, detail: null, hint: null });
const job: Job = {
  id: 'a-1', v: 3, verb: 'deploy', profile: 'monero', miner: null, by: 'session', who: null, began: 1, ended: null,
  counts: { waiting: 1, running: 1, done: 0, failed: 0, unknown: 0 },
  rigs: [line('a', 'running'), line('b', 'waiting')],
};
const { rigs: _, ...summary } = job;
const change = (v: number, changed?: JobChange['changed']): JobChange => ({ ...summary, v, counts: { ...job.counts, running: 0, done: 1 }, ...(changed ? { changed } : {}) });

test('an event changes the rigs that it names, and no others', () => {
  const next = follow(job, change(4, [{ i: 0, ...line('a', 'done') }]));
  if (typeof next === 'string') throw new Error(next);
  expect(next.rigs.map(({ state }) => state)).toEqual(['done', 'waiting']);
  expect([next.v, next.counts.done, 'changed' in next]).toEqual([4, 1, false]);
  expect(job.rigs[0]?.state).toBe('running');
});

test('what is old is dropped, and what does not follow is asked for', () => {
  expect(follow(job, change(3, []))).toBe('old');
  expect(follow(job, change(5, []))).toBe('missed');
  expect(follow(job, change(4))).toBe('missed');
  expect(follow(job, change(4, [{ i: 7, ...line('x', 'done') }]))).toBe('missed');
});

test('what a node forgot is not known, and is not called failed', () => {
  const lost = forgotten(job, 9);
  expect(lost.rigs.map(({ state }) => state)).toEqual(['unknown', 'unknown']);
  expect([lost.ended, lost.counts.unknown, toRetry(lost)]).toEqual([9, 2, 2]);
  expect(jobSummary(lost)).toBe('0 of 2 done, 2 not known');
});

test('a job is told in words', () => {
  expect(jobTitle(job)).toBe('Deploy monero to 2 rigs');
  expect(jobTitle({ ...job, verb: 'stop', counts: { ...job.counts, waiting: 0 } })).toBe('Stop 1 rig');
});

test('why it failed is told once for all rigs that have the reason', () => {
  const because = (name: string, state: Line['state'], detail: string): Line => ({ ...line(name, state), detail, hint: 'do that' });
  const lines = [
    because('a', 'failed', "a refused: the rig's policy forbids it: wallet"), because('b', 'failed', "b refused: the rig's policy forbids it: wallet"),
    because('c', 'unknown', 'no answer from c within 30 s'), because('d', 'failed', '[10:01] no pool'), because('e', 'failed', '[10:02] no pool'),
    because('f', 'failed', '[10:03] no pool'), because('g', 'done', '[10:03] no pool'), line('h', 'failed'),
  ];
  expect(reasons(lines)).toEqual([
    { state: 'failed', detail: '[10:01] no pool', hint: 'do that', count: 3, alike: true },
    { state: 'failed', detail: "It refused: the rig's policy forbids it: wallet", hint: 'do that', count: 2, alike: false },
  ]);
});

test('what failed comes first', () => {
  const lines = [line('a', 'done'), line('b', 'unknown'), line('c', 'failed'), line('d', 'waiting')];
  expect(worstFirst(lines).map(({ name }) => name)).toEqual(['c', 'b', 'a', 'd']);
});
