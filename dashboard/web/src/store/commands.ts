// What rigs are told from this page, and how it went.

import { signal } from '@preact/signals';

import { ask, failure, part, type Failure } from '../api/client';
import type { DeployOutcome, MinerOutcome, PeerView, Pinged, RigProfile } from '../api/types';
import type { Rig } from '../logic/rig';
import { plural } from '../logic/format';
import { done, failed } from './toast';
import { ping as pingText } from '../logic/format';

type Named = Pick<Rig, 'id' | 'name'>;

export interface Start { profile: string; from: 'here' | 'rig' }

/** Own commands under way, by rig; the table shows them in place of the state. */
export const under = signal<ReadonlyMap<string, { word: string; late: boolean }>>(new Map());

/** After this a person is told that the answer is missing. The node itself waits longer. */
const LATE_MS = 15_000;

async function shown<T>(rig: Named, word: string, run: () => Promise<T>): Promise<T> {
  const set = (late: boolean) => (under.value = new Map(under.value).set(rig.id, { word, late }));
  set(false);
  const timer = setTimeout(() => set(true), LATE_MS);
  try {
    return await run();
  } finally {
    clearTimeout(timer);
    const rest = new Map(under.value);
    rest.delete(rig.id);
    under.value = rest;
  }
}

export function start(rig: Named, body: Start): Promise<MinerOutcome> {
  return shown(rig, 'Starting…', () => ask('POST', `/remote/${part(rig.id)}/start`, body));
}

export function stop(rig: Named, miner: string | null): Promise<MinerOutcome> {
  return shown(rig, 'Stopping…', () => ask('POST', `/remote/${part(rig.id)}/stop`, miner === null ? { all: true } : { miner }));
}

export function restart(rig: Named, miner: string): Promise<MinerOutcome> {
  return shown(rig, 'Restarting…', () => ask('POST', `/remote/${part(rig.id)}/restart`, { miner }));
}

export function storedProfiles(rig: Named): Promise<RigProfile[]> {
  return ask('GET', `/remote/${part(rig.id)}/profiles`);
}

export function undeploy(rig: Named, profile: string): Promise<DeployOutcome> {
  return ask('POST', `/remote/${part(rig.id)}/undeploy`, { profile });
}

export function ping(rig: Named): Promise<Pinged> {
  return ask('POST', `/peers/${part(rig.id)}/ping`);
}

export function remove(rig: Named): Promise<PeerView> {
  return ask('DELETE', `/peers/${part(rig.id)}`);
}

/** Pings one rig and says what came of it. */
export async function pingOne(rig: Named): Promise<void> {
  try {
    const { round_trip_ms } = await ping(rig);
    done(`${rig.name} answered in ${pingText(round_trip_ms)}`);
  } catch (thrown) {
    failed(`${rig.name} did not answer`, failure(thrown));
  }
}

/** What an outcome means, in words. */
export function outcomeText(outcome: MinerOutcome): string {
  const states = outcome.miners
    .map(({ name, state, problem }) => (problem ? `${name} ${state}: ${problem}` : `${name} ${state}`))
    .join(', ');
  return `${states || 'no miner'}${outcome.changed ? '' : ' already'}`;
}

/** A browser has six connections to a host over plain HTTP; the stream and a log tail need two. */
const AT_ONCE = 4;
/** Tries for one rig when the gateway says "too many requests" or the rig says "busy". */
const TRIES = 4;

/** A removal of many that is under way: how many of them are answered. */
export const removing = signal<{ done: number; all: number } | null>(null);

// It ends with the page: the browser asks before it closes or reloads that.
globalThis.addEventListener?.('beforeunload', (event) => {
  if (removing.value !== null) event.preventDefault();
});

/** Removes many, some at a time, and says how it went; gives those that are gone. Rows go as they are removed. */
export async function removeAll(rigs: Named[]): Promise<Named[]> {
  const waiting = [...rigs];
  const kept: { rig: Named; why: Failure }[] = [];
  const worker = async () => {
    for (let rig = waiting.shift(); rig; rig = waiting.shift()) {
      const one = rig;
      try {
        await patiently(() => remove(one));
      } catch (thrown) {
        kept.push({ rig: one, why: failure(thrown) });
      }
      count(1, 0);
    }
  };
  count(0, rigs.length);
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, rigs.length) }, worker));
  // Another removal may have begun meanwhile: they end together.
  if (removing.value?.done === removing.value?.all) removing.value = null;
  const left = new Set(kept.map(({ rig }) => rig));
  const gone = rigs.filter((rig) => !left.has(rig));
  if (gone.length > 0) done(`${plural(gone.length, 'rig is', 'rigs are')} removed`);
  const [first] = kept;
  if (first) failed(`${plural(kept.length, 'rig is', 'rigs are')} not removed, ${first.rig.name} first`, first.why);
  return gone;
}

function count(done: number, all: number): void {
  const before = removing.value ?? { done: 0, all: 0 };
  removing.value = { done: before.done + done, all: before.all + all };
}

async function patiently<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await run();
    } catch (thrown) {
      const why = failure(thrown);
      // Only what certainly did nothing is tried again.
      const nothingDone = why.status === 429 || why.code === 'busy';
      if (!nothingDone || tries === TRIES) throw thrown;
      await new Promise((wake) => setTimeout(wake, 1000 * (why.retryAfter ?? tries)));
    }
  }
}
