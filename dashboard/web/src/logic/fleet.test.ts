import { expect, test } from 'vitest';

import { Fleet, OutOfStep, type Frame } from './fleet';

const columns = (ids: string[]) => ({
  id: ids, name: ids.map((id) => `rig-${id}`), role: ids.map(() => 'worker'), address: ids.map(() => null), here: ids.map(() => 0),
  on: ids.map(() => 1), ping: ids.map(() => 3), score: ids.map(() => 100), seen: ids.map(() => 1000), hash: ids.map(() => 500), algo: ids.map(() => 'rx/0'),
  miners: ids.map(() => 1), run: ids.map(() => 1), state: ids.map(() => 'mining'), temp: ids.map(() => null), watt: ids.map(() => null),
  acc: ids.map(() => 10), rej: ids.map(() => 0), problem: ids.map(() => null),
});

function fleet(): Fleet {
  const made = new Fleet();
  made.snapshot({ v: 5, at: 0, i: [0, 1, 2], ...columns(['a', 'b', 'c']) });
  return made;
}

test('a snapshot is every row and replaces what was', () => {
  const made = fleet();
  made.snapshot({ v: 9, at: 0, i: [41], ...columns(['c']) });
  expect([...made.byId.keys()]).toEqual(['c']);
  expect(made.byId.get('c')?.word).toBe('Mining');
  made.delta({ v: 10, at: 0, i: [41], ping: [77] });
  expect(made.byId.get('c')?.ping).toBe(77);
});

test('a delta changes the named columns of the named rows alone', () => {
  const made = fleet();
  const untouched = made.byId.get('a');
  made.delta({ v: 6, at: 0, i: [1, 2], ping: [9, null], hash: [600, null] });
  expect(made.byId.get('b')).toMatchObject({ ping: 9, hash: 600, score: 100 });
  expect(made.byId.get('c')).toMatchObject({ ping: null, hash: null });
  expect(made.byId.get('a')).toBe(untouched);
});

test('a delta makes the verdict anew', () => {
  const made = fleet();
  made.delta({ v: 6, at: 0, i: [0], on: [0], state: ['offline'], problem: ['connection refused'] });
  expect(made.byId.get('a')).toMatchObject({ shown: 'off', word: 'Offline', why: 'connection refused' });
  made.delta({ v: 7, at: 0, i: [0], on: [1], state: ['mining'], problem: [null] });
  expect(made.byId.get('a')).toMatchObject({ shown: 'ok', word: 'Mining', why: null });
});

test('an old frame is dropped', () => {
  const made = fleet();
  expect(made.delta({ v: 5, at: 0, i: [0], ping: [99] })).toBe(false);
  expect(made.peers({ v: 4, at: 0, removed: [0] })).toBe(false);
  expect(made.byId.get('a')?.ping).toBe(3);
});

test('peers come, go and are renamed; indexes stay, and the delta of the same version follows', () => {
  const made = fleet();
  made.peers({ v: 6, at: 0, removed: [0], changed: { i: [1], name: ['beta'] }, added: { i: [3], ...columns(['d']) } } as unknown as Frame);
  expect([...made.byId.keys()].sort()).toEqual(['b', 'c', 'd']);
  expect(made.byId.get('b')).toMatchObject({ name: 'beta', hash: 500 });
  expect(made.delta({ v: 6, at: 0, i: [3, 2], ping: [7, 8] })).toBe(true);
  expect(made.byId.get('d')?.ping).toBe(7);
  expect(made.byId.get('c')?.ping).toBe(8);
});

test('a frame that does not fit asks for a new snapshot', () => {
  const broken: object[] = [
    { i: [7], ping: [1] },
    { i: [0, 1], ping: [1] },
    { i: [0], ping: 'x' },
  ];
  for (const frame of broken) expect(() => fleet().delta({ v: 6, at: 0, ...frame })).toThrow(OutOfStep);
  const nameless = { v: 6, at: 0, added: { i: [9], id: ['z'] } } as unknown as Frame;
  expect(() => fleet().peers(nameless)).toThrow(OutOfStep);
  expect(() => fleet().delta({ v: 7, at: 0, i: [1], ping: [1] })).not.toThrow();
});

test('a row that was removed takes no more changes', () => {
  const made = fleet();
  made.peers({ v: 6, at: 0, removed: [1] });
  expect(() => made.delta({ v: 6, at: 0, i: [1], ping: [1] })).toThrow(OutOfStep);
});
