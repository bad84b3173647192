import { expect, test } from 'vitest';

import { causes, filterOf } from './causes';
import { parse } from './filter';
import { row } from './fixture';
import { rig } from './rig';

const off = { on: 0, state: 'offline' } as const;
const RIGS = [
  row({ id: 'a', name: 'rig-10', ...off, problem: 'not connected' }),
  row({ id: 'b', name: 'rig-9', ...off, problem: 'not connected' }),
  row({ id: 'c', name: 'rig-1', temp: 91 }),
  row({ id: 'd', name: 'rig-2', temp: 88 }),
  row({ id: 'e', name: 'rig-3', temp: 99 }),
  row({ id: 'f', name: 'rig-4', state: 'degraded', problem: 'xmrig-1 has lost its pool' }),
  row({ id: 'g', name: 'rig-5', state: 'fault', problem: 'xmrig-2: exit 1; its last line: "no device"' }),
  row({ id: 'h', name: 'rig-6', state: 'fault' }),
  row({ id: 'i', name: 'rig-7' }),
].map(rig);

test('rigs with the same trouble are one thing to mend, the worst first, then what hits most', () => {
  const found = causes(RIGS).map(({ shown, why, same, rigs }) => [shown, why, same, rigs.map(({ name }) => name).join(' ')]);
  expect(found).toEqual([
    ['crit', null, true, 'rig-6'],
    ['crit', 'xmrig-2: exit 1; its last line: "no device"', true, 'rig-5'],
    ['warn', 'A device is at 91 °C', false, 'rig-1 rig-2 rig-3'],
    ['warn', 'xmrig-1 has lost its pool', true, 'rig-4'],
    ['off', 'not connected', true, 'rig-9 rig-10'],
  ]);
});

test('its filter finds each rig of a cause', () => {
  for (const cause of causes(RIGS)) {
    const { test: matches, error } = parse(filterOf(cause));
    expect(error).toBeNull();
    const found = RIGS.filter(matches).map(({ name }) => name);
    // Where nothing is said, the state is all there is to find it by.
    for (const { name } of cause.rigs) expect(found).toContain(name);
    if (cause.why !== null) expect(found.length).toBe(cause.rigs.length);
  }
});
