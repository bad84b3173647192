import { expect, test } from 'vitest';

import type { MinerOutcome } from '../api/types';
import { outcomeText } from './commands';

test('an outcome says what is wrong with it', () => {
  const of = (problem: string | null, changed = true) =>
    ({ rig: 'rig-alpha', miners: [{ name: 'xmrig-1', state: 'mining', problem }], changed }) as MinerOutcome;
  expect(outcomeText(of(null, false))).toBe('xmrig-1 mining already');
  expect(outcomeText(of('another start overtook it'))).toBe('xmrig-1 mining: another start overtook it');
});
