import { expect, test } from 'vitest';

import { row } from './fixture';
import { algorithms, count, mayRun, power, rig, sums, untold, type Live } from './rig';

test('the state is the worst that is known', () => {
  const shown = (change: Partial<Live>) => {
    const { shown: state, word } = rig(row(change));
    return `${state} ${word}`;
  };
  expect(shown({})).toBe('ok Mining');
  expect(shown({ temp: 90 })).toBe('warn Degraded');
  expect(shown({ rej: 100 })).toBe('warn Degraded');
  expect(shown({ state: 'fault' })).toBe('crit Fault');
  expect(shown({ state: 'idle', miners: 1, run: 0 })).toBe('idle Stopped');
  expect(shown({ state: 'idle', miners: 0, run: 0 })).toBe('idle No miner yet');
  // What the node says is wrong of a rig that is there comes before what its numbers say.
  expect(shown({ state: 'idle', problem: 'two machines use its identity' })).toBe('warn Degraded');
  expect(shown({ state: 'unknown', problem: 'two machines use its identity' })).toBe('warn Degraded');
  expect(rig(row({ temp: 90, problem: 'two machines use its identity' })).why).toBe('two machines use its identity');
  expect(shown({ state: 'offline', on: 0, temp: 90 })).toBe('off Offline');
  expect(shown({ state: 'unheard-of' as Live['state'] })).toBe('ok Online');
});

test('what a rig said last is not what it does', () => {
  expect(untold(row({ on: 0, state: 'offline' }))?.word).toBe('Offline');
  expect(untold(row({ state: 'unknown' }))?.word).toBe('Not known');
  expect(untold(row())).toBeNull();
});

test('a single reject among few shares is chance', () => {
  expect(rig(row({ acc: 3, rej: 1 })).shown).toBe('ok');
});

test('sums leave out what is offline or not known', () => {
  const rigs = [row({ hash: 100 }), row({ hash: 50 }), row({ hash: null }), row({ on: 0, state: 'offline', hash: 70 }), row({ algo: 'kawpow', hash: 9 })].map(rig);
  expect(sums(rigs)).toEqual([{ algorithm: 'rx/0', rate: 150, rigs: 2 }, { algorithm: 'kawpow', rate: 9, rigs: 1 }]);
});

test('a rig counts under each of its algorithms, with the rate of that alone', () => {
  const rigs = [row({ hash: 100, also: [['kawpow', 9]] }), row({ hash: 50 })].map(rig);
  expect(sums(rigs)).toEqual([{ algorithm: 'rx/0', rate: 150, rigs: 2 }, { algorithm: 'kawpow', rate: 9, rigs: 1 }]);
});

test('power is that of those that measure it, and nothing where none does', () => {
  expect(power([row({ watt: 200 }), row({ watt: null }), row({ watt: 90, on: 0, state: 'offline' }), row({ watt: 50 })].map(rig))).toBe(250);
  expect(power([rig(row())])).toBeNull();
});

test('beside the rate of an algorithm stand the others with theirs', () => {
  expect(algorithms(row())).toBe('rx/0');
  expect(algorithms(row({ also: [['kawpow', 9000]] }))).toBe('rx/0, kawpow 9.00 kH/s');
  expect(algorithms(row({ on: 0, also: [['kawpow', 9000]] }))).toBe('rx/0, kawpow');
  expect(algorithms(row({ algo: null }))).toBeUndefined();
});

test('what is not known to run may be stopped', () => {
  expect(mayRun(row({ run: 1 }))).toBe(true);
  expect(mayRun(row({ run: null, state: 'unknown' }))).toBe(true);
  expect(mayRun(row({ run: 0 }))).toBe(false);
  expect(mayRun(row({ on: 0, run: 1, state: 'offline' }))).toBe(false);
});

test('counts add up', () => {
  const counts = count([row(), row({ state: 'fault' }), row({ on: 0, state: 'offline' })].map(rig));
  expect(counts).toMatchObject({ all: 3, online: 2, ok: 1, crit: 1, off: 1, attention: 1 });
});
