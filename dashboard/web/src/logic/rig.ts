// A rig as the table knows it, and what state it is in. One row per peer, and one for this node when it mines.

import type { MinerState, Role } from '../api/types';
import { hashrate } from './format';

/** Shape and colour. The words that go with them are the same everywhere. */
export type State = 'ok' | 'warn' | 'crit' | 'off' | 'idle' | 'wait';

/** What the node says of a rig. */
export type RigWord = 'offline' | 'unknown' | 'idle' | 'fault' | 'degraded' | 'wait' | 'mining';

/** What does not change but with the peer itself. */
export interface Fixed {
  id: string;
  name: string;
  role: Role;
  address: string | null;
  /** This node itself. */
  here: number;
}

/** What changes while it mines. Null is not known, which is not zero. */
export interface Live {
  on: number;
  /** Milliseconds. */
  ping: number | null;
  score: number;
  /** Unix seconds. */
  seen: number | null;
  /** Hashes per second of its miners of `algo`; without one, of all. */
  hash: number | null;
  /** The algorithm with the highest rate. */
  algo: string | null;
  /** Its further algorithms, each with its own rate; null when there are none. */
  also: [string, number][] | null;
  miners: number | null;
  /** Of these, with a process. */
  run: number | null;
  state: RigWord;
  /** Hottest device, °C. */
  temp: number | null;
  watt: number | null;
  acc: number | null;
  rej: number | null;
  problem: string | null;
}

export interface Rig extends Fixed, Live {
  shown: State;
  word: string;
  /** Why it is so, in words, when something is wrong. */
  why: string | null;
}

/** Hotter than this throttles most cards. */
const HOT_CELSIUS = 85;
/** More than this share of work thrown away is lost income that somebody should know of. */
const REJECTED = 0.03;
/** Below this many shares one reject is chance, not a fault. */
const ENOUGH_SHARES = 50;

const SHOWN: Record<RigWord, { shown: State; word: string }> = {
  offline: { shown: 'off', word: 'Offline' },
  unknown: { shown: 'ok', word: 'Online' },
  idle: { shown: 'idle', word: 'Stopped' },
  fault: { shown: 'crit', word: 'Fault' },
  degraded: { shown: 'warn', word: 'Degraded' },
  // A miner of it starts, or stops.
  wait: { shown: 'wait', word: 'Changing…' },
  mining: { shown: 'ok', word: 'Mining' },
};

/** Gives a row its verdict, in place: thousands of rows may change each second, and each copy is one too many. */
export function rig(row: Fixed & Live): Rig {
  const judged = row as Rig;
  const { shown, word } = SHOWN[row.state] ?? SHOWN.unknown;
  judged.shown = shown;
  judged.word = word;
  judged.why = row.problem;
  if (row.state === 'idle' && row.miners === 0) judged.word = 'No miner yet';
  // What the node calls mining may still be hot, or work for nothing; what it calls stopped may be two machines.
  if (row.state === 'mining') judged.why = complaint(row);
  if (judged.why !== null && ['idle', 'mining', 'unknown', 'wait'].includes(row.state)) {
    judged.shown = 'warn';
    judged.word = 'Degraded';
  }
  return judged;
}

function complaint({ temp, acc, rej, problem }: Live): string | null {
  if (problem !== null) return problem;
  if (temp !== null && temp >= HOT_CELSIUS) return `A device is at ${temp} °C`;
  const share = rejected({ acc, rej });
  if (share !== null && (acc ?? 0) + (rej ?? 0) >= ENOUGH_SHARES && share > REJECTED) return `${(100 * share).toFixed(1)} % of shares rejected`;
  return null;
}

/** Which part of its shares was thrown away; null when it is not known, or none was sent. */
export function rejected({ acc, rej }: Pick<Live, 'acc' | 'rej'>): number | null {
  const sent = (acc ?? 0) + (rej ?? 0);
  return rej === null || sent === 0 ? null : rej / sent;
}

/** What wants a person: a fault or a degradation. Offline is counted by itself. */
export function needsAttention({ shown }: Pick<Rig, 'shown'>): boolean {
  return shown === 'warn' || shown === 'crit';
}

const MINER: Record<MinerState, { shown: State; word: string }> = {
  connecting: { shown: 'wait', word: 'Connecting…' },
  failed: { shown: 'crit', word: 'Failed' },
  mining: { shown: 'ok', word: 'Mining' },
  'no-pool': { shown: 'warn', word: 'No pool' },
  paused: { shown: 'idle', word: 'Paused' },
  starting: { shown: 'wait', word: 'Starting…' },
  stopped: { shown: 'idle', word: 'Stopped' },
  stopping: { shown: 'wait', word: 'Stopping…' },
  warming: { shown: 'wait', word: 'Warming up…' },
};

export function minerShown(state: MinerState): { shown: State; word: string } {
  return MINER[state] ?? { shown: 'warn', word: state };
}

/**
 * What to show of a rig's miners in place of what it said last, which is not what they do; null while that is current.
 * A rig can be connected and not tell its numbers.
 */
export function untold(row: Pick<Live, 'on' | 'state'> | undefined): { shown: State; word: string } | null {
  if (row?.on === 0) return SHOWN.offline;
  return row?.state === 'unknown' ? { shown: 'idle', word: 'Not known' } : null;
}

/** Whether a miner has a process. */
export function runs(state: MinerState): boolean {
  return state !== 'stopped' && state !== 'failed';
}

export interface Sum { algorithm: string; rate: number; rigs: number }

/** Sum per algorithm over the whole fleet, the one of most rigs first. A rig counts under each of its algorithms. */
export function sums(rigs: Iterable<Rig>): Sum[] {
  const found = new Map<string, Sum>();
  const add = (algorithm: string, rate: number) => {
    const sum = found.get(algorithm) ?? { algorithm, rate: 0, rigs: 0 };
    sum.rate += rate;
    sum.rigs += 1;
    found.set(algorithm, sum);
  };
  for (const { on, hash, algo, also } of rigs) {
    if (on === 0 || hash === null || algo === null) continue;
    add(algo, hash);
    also?.forEach(([algorithm, rate]) => add(algorithm, rate));
  }
  return [...found.values()].sort((a, b) => b.rigs - a.rigs || (a.algorithm < b.algorithm ? -1 : 1));
}

/** Watts of those that tell theirs; null when none does. */
export function power(rigs: Iterable<Rig>): number | null {
  let sum: number | null = null;
  for (const { on, watt } of rigs) if (on === 1 && watt !== null) sum = (sum ?? 0) + watt;
  return sum;
}

export type Counts = Record<State | 'all' | 'online' | 'attention', number>;

export function count(rigs: Iterable<Rig>): Counts {
  const counts: Counts = { all: 0, online: 0, attention: 0, ok: 0, warn: 0, crit: 0, off: 0, idle: 0, wait: 0 };
  for (const one of rigs) {
    counts.all += 1;
    counts[one.shown] += 1;
    if (one.on === 1) counts.online += 1;
    if (needsAttention(one)) counts.attention += 1;
  }
  return counts;
}

/** What a rig computes: the rate beside it is that of the first alone. Of one that is away no rate is known. */
export function algorithms({ on, algo, also }: Pick<Rig, 'on' | 'algo' | 'also'>): string | undefined {
  if (algo === null) return undefined;
  return [algo, ...(also ?? []).map(([other, rate]) => (on === 1 ? `${other} ${hashrate(rate)}` : other))].join(', ');
}

/** Whether there may be something to stop: where it is not known, the rig knows. */
export function mayRun({ on, run }: Pick<Rig, 'on' | 'run'>): boolean {
  return on === 1 && run !== 0;
}
