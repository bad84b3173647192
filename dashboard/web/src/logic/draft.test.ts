import { expect, test } from 'vitest';

import type { Profile } from '../api/types';
import { differences, draftOf, fieldsOf, profileOf } from './draft';
import { level, MAX_LINES, Ring } from './ring';

const PROFILE: Profile = {
  name: 'p', program: 'xmrig', algorithm: 'rx/0', wallet: '44A', password: '********', threads: 4, huge_pages: false, arguments: ['--a=1', '--b'],
  pools: [{ url: 'pool.example:3333', tls: true, fingerprint: 'ab' }],
};

test('a profile survives the form', () => {
  expect(profileOf(draftOf(PROFILE))).toEqual(PROFILE);
});

test('what somebody else changed is known by its fields', () => {
  expect(differences(PROFILE, structuredClone(PROFILE))).toEqual([]);
  expect(differences(PROFILE, { ...PROFILE, wallet: '44B', rig_name: 'x', pools: [...PROFILE.pools, { url: 'b.example:1', tls: false }] })).toEqual(['pools', 'wallet', 'rig name']);
  expect(differences(null, null)).toEqual([]);
});

test('what is empty is left out', () => {
  expect(profileOf({ ...draftOf(null), name: ' p ', wallet: 'w' })).toEqual({ name: 'p', program: 'xmrig', wallet: 'w', pools: [{ url: '', tls: false }] });
});

test('what is no number goes to the node as it is, to be refused by name', () => {
  expect(profileOf({ ...draftOf(PROFILE), threads: 'many' }).threads).toBe('many');
  expect(fieldsOf(draftOf(PROFILE))).toContain('pools.0.fingerprint');
});

const page = (from: number, to: number, lost = 0) => ({
  miner: 'x', lines: Array.from({ length: to - from + 1 }, (_, at) => ({ number: from + at, text: `line ${from + at}` })), newest: to, lost,
});

test('the ring keeps the newest lines and tells gaps', () => {
  const ring = new Ring();
  ring.add(page(1, 3));
  ring.add(page(10, 11, 6));
  expect(ring.lines.map((line) => line.text)).toEqual(['line 1', 'line 2', 'line 3', '6 lines dropped', 'line 10', 'line 11']);
  ring.add(page(12, 12 + MAX_LINES));
  expect(ring.lines.length).toBe(MAX_LINES);
  expect(ring.newest).toBe(12 + MAX_LINES);
});

test('one line that is lost is one line', () => {
  const ring = new Ring();
  ring.add(page(1, 1));
  ring.add(page(3, 3, 1));
  expect(ring.lines[1]?.text).toBe('1 line dropped');
});

test('lines lost before we came are no gap of ours', () => {
  const ring = new Ring();
  ring.add(page(500, 501, 499));
  expect(ring.lines.length).toBe(2);
});

test('a rig whose node was started anew counts from one again', () => {
  const ring = new Ring();
  ring.add(page(1, 900));
  ring.add({ miner: 'x', lines: [], newest: 4, lost: 0 });
  expect(ring.newest).toBeNull();
  ring.add(page(1, 4));
  expect(ring.lines.at(-1)?.text).toBe('line 4');
});

test('a level is read off the words', () => {
  expect(['accepted (1/0)', 'rejected (1/1)', 'connect error', 'WARN', 'speed 10s'].map(level)).toEqual(['ok', 'crit', 'crit', 'warn', '']);
});
