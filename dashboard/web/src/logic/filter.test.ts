import { expect, test } from 'vitest';

import { parse } from './filter';
import { rig } from './rig';
import { row } from './fixture';

const RIGS = [
  row({ id: '1f', name: 'barn-1', address: '/ip4/10.0.0.1/tcp/9091/ws', ping: 250, temp: 70 }),
  row({ id: '2f', name: 'barn-2', on: 0, state: 'offline', ping: null, temp: 95, hash: 1 }),
  row({ id: '3f', name: 'attic', role: 'dual', algo: 'kawpow', hash: 31e6, temp: 90, score: 40 }),
].map(rig);
const found = (text: string) => RIGS.filter(parse(text).test).map((one) => one.name).join(' ');

test('words match name and address; all must hold', () => {
  expect(found('')).toBe('barn-1 barn-2 attic');
  expect(found('BARN')).toBe('barn-1 barn-2');
  expect(found('barn 10.0')).toBe('barn-1');
  expect(found('barn attic')).toBe('');
});

test('keys match their own field', () => {
  expect(found('state:offline')).toBe('barn-2');
  expect(found('role:dual')).toBe('attic');
  expect(found('algo:rx/0 state:online')).toBe('barn-1');
  expect(found('state:attention')).toBe('attic');
});

test('numbers compare, with units for rates', () => {
  expect(found('ping>200')).toBe('barn-1');
  expect(found('score<50')).toBe('attic');
  expect(found('hash>=31m')).toBe('attic');
  expect(found('hash<1kh/s')).toBe('barn-1');
});

test('what a rig measured before it went offline is not compared', () => {
  expect(found('temp>80')).toBe('attic');
});

test('shares thrown away compare in percent, as they are shown', () => {
  const rigs = [row({ name: 'good', acc: 999, rej: 1 }), row({ name: 'bad', acc: 90, rej: 10 }), row({ name: 'new', acc: 0, rej: 0 })].map(rig);
  expect(rigs.filter(parse('rej>3').test).map(({ name }) => name)).toEqual(['bad']);
  expect(rigs.filter(parse('rej<=3').test).map(({ name }) => name)).toEqual(['good']);
});

test('quotes keep words together, while they are typed, too', () => {
  const rigs = [row({ name: 'a', problem: 'xmrig-1 has lost its pool', state: 'degraded' }), row({ name: 'b', temp: 90 })].map(rig);
  const names = (text: string) => rigs.filter(parse(text).test).map(({ name }) => name).join(' ');
  expect(names('why:"lost its pool"')).toBe('a');
  expect(names('why:"lost its')).toBe('a');
  expect(names('why:"at # °c"')).toBe('b');
  expect(names('why:"at 90 °C" state:degraded')).toBe('b');
  expect(names('-why:"lost its pool"')).toBe('b');
});

test('it tells what it asks for, so that this can be shown', () => {
  expect([...parse('barn temp>80 -algo:rx/0 nonsense>1').keys]).toEqual(['temp', 'algo']);
  // Of what is in trouble one asks why; that a mining rig mines is no news.
  expect([...parse('state:fault').keys, ...parse('state:mining').keys]).toEqual(['why', 'state']);
});

test('a minus turns it around', () => {
  expect(found('-barn')).toBe('attic');
  expect(found('-state:offline barn')).toBe('barn-1');
});

test('half a word typed filters nothing wrongly', () => {
  expect(found('state:off')).toBe('barn-2');
  expect(parse('state:').error).toBeNull();
  expect(found('-')).toBe('barn-1 barn-2 attic');
});

test('a mistake is told and filters nothing', () => {
  expect(parse('temp>hot').error).toContain('needs a number');
  expect(parse('name>3').error).toContain('is not a number');
  expect(parse('state:happy').error).toContain('is not a state');
  expect(found('temp>hot')).toBe('barn-1 barn-2 attic');
});

test('names of objects are no keys', () => {
  expect(parse('constructor>1').error).not.toBeNull();
  expect(found('constructor:x')).toBe('');
  expect(parse('state:constructor').error).not.toBeNull();
});
