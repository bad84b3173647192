// One command to many rigs, as this page keeps it while the node carries it out. Pure.

import type { Job, JobChange, JobSummary } from '../api/types';
import type { State } from './rig';
import { plural } from './format';

export type Line = Job['rigs'][number];

/** What an event does to a job that is known: it follows, is old, or something between was missed. */
export function follow(job: Job, change: JobChange): Job | 'old' | 'missed' {
  if (change.v <= job.v) return 'old';
  if (change.v !== job.v + 1 || change.changed === undefined) return 'missed';
  const rigs = [...job.rigs];
  for (const { i, ...line } of change.changed) {
    if (rigs[i] === undefined) return 'missed';
    rigs[i] = line;
  }
  const { changed: _, ...rest } = change;
  return { ...rest, rigs };
}

/** The node does not know the job any more: what was not told by then is not known. */
export function forgotten(job: Job, at: number): Job {
  const detail = 'The node was started anew before it told what became of this';
  const rigs = job.rigs.map((line): Line => (isUnderWay(line) ? { ...line, state: 'unknown', code: null, detail, hint: 'ask again: start and stop find a state or reach it' } : line));
  const { waiting, running, unknown } = job.counts;
  return { ...job, ended: at, rigs, counts: { ...job.counts, waiting: 0, running: 0, unknown: unknown + waiting + running } };
}

function isUnderWay({ state }: Line): boolean {
  return state === 'waiting' || state === 'running';
}

/** What the job is, in words. */
export function jobTitle({ verb, profile, counts }: Pick<JobSummary, 'verb' | 'profile' | 'counts'>): string {
  const rigs = plural(total(counts), 'rig');
  switch (verb) {
    case 'deploy': return `Deploy ${profile} to ${rigs}`;
    case 'start': return `Start ${profile} on ${rigs}`;
    case 'stop': return `Stop ${rigs}`;
    case 'restart': return `Restart ${rigs}`;
    case 'ping': return `Ping ${rigs}`;
  }
}

export function total({ waiting, running, done, failed, unknown }: JobSummary['counts']): number {
  return waiting + running + done + failed + unknown;
}

/** How it went so far. */
export function jobSummary({ counts }: Pick<JobSummary, 'counts'>): string {
  const bad = [counts.failed > 0 ? `, ${counts.failed} failed` : '', counts.unknown > 0 ? `, ${counts.unknown} not known` : ''].join('');
  return `${counts.done} of ${total(counts)} done${bad}`;
}

/** Those that a retry would take. */
export function toRetry({ counts }: Pick<JobSummary, 'counts'>): number {
  return counts.failed + counts.unknown;
}

export const LINE_SHOWN: Record<Line['state'], { shown: State; word: string }> = {
  waiting: { shown: 'idle', word: 'Waiting' },
  running: { shown: 'wait', word: 'Under way…' },
  done: { shown: 'ok', word: 'Done' },
  failed: { shown: 'crit', word: 'Failed' },
  unknown: { shown: 'warn', word: 'Not known' },
};

/** What a row of the table says while its rig's turn is on; a ping changes nothing to see. */
export const LINE_WORD: Partial<Record<Job['verb'], string>> = { deploy: 'Deploying…', restart: 'Restarting…', start: 'Starting…', stop: 'Stopping…' };

/** Why lines ended so: of many rigs one sees at a glance whether it is one cause or several. */
export interface Reason { state: 'failed' | 'unknown'; detail: string; hint: string | null; count: number; alike: boolean }

/** What was not done, or is not known to be, by its reason, the commonest first; nothing where each has its own. */
export function reasons(lines: readonly Line[]): Reason[] {
  const found = new Map<string, Reason>();
  for (const { name, state, detail, hint } of lines) {
    if ((state !== 'failed' && state !== 'unknown') || detail === null) continue;
    // The rig's own name, and numbers such as times, make no other reason of it.
    const why = detail.startsWith(`${name} `) ? `It ${detail.slice(name.length + 1)}` : detail;
    const key = `${state} ${why.replaceAll(/\d+/g, '0')}`;
    const known = found.get(key);
    if (known) {
      known.count += 1;
      known.alike ||= known.detail !== why;
    } else found.set(key, { state, detail: why, hint, count: 1, alike: false });
  }
  const several = [...found.values()].filter(({ count }) => count > 1);
  return several.sort((a, b) => b.count - a.count);
}

/** What matters first: what failed, then what is not known, then the others in their own order. */
export function worstFirst(lines: readonly Line[]): Line[] {
  const weight = ({ state }: Line) => (state === 'failed' ? 0 : state === 'unknown' ? 1 : 2);
  return [...lines].sort((a, b) => weight(a) - weight(b));
}
