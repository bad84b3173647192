import { expect, test } from 'vitest';

import { csv, jobCsv } from './csv';
import { row } from './fixture';
import { rig } from './rig';

test('a rig is a line, and what is not known or not so now is empty', () => {
  const [head, mines, away, end] = csv([row({ name: 'rig-a', temp: 61 }), row({ name: 'rig-b', on: 0, state: 'offline', temp: 70, seen: null, problem: 'not connected' })].map(rig), 5000).split('\r\n');
  expect(head?.split(',').length).toBe(mines?.split(',').length);
  expect(mines).toBe('rig-a,a,Mining,,worker,,rx/0,500,61,,1000,0,3,100,1970-01-01T01:23:20.000Z');
  expect(away).toBe('rig-b,a,Offline,not connected,worker,,,,,,,,,100,');
  expect(end).toBe('');
});

test('words of other machines are quoted and are no formula', () => {
  const [, line] = csv([rig(row({ state: 'fault', problem: '=cmd|"calc", now' }))], 5000).split('\r\n');
  expect(line).toContain(`,"'=cmd|""calc"", now",`);
});

test('what came of an order is a table, the failed first', () => {
  const done = { id: 'a', name: 'rig-a', state: 'done', code: null, detail: 'xmrig-1 is stopped', hint: null } as const;
  const failed = { id: null, name: 'rig-b', state: 'failed', code: 'unreachable', detail: 'not connected, it seems', hint: 'check it' } as const;
  expect(jobCsv({ rigs: [done, failed] }).split('\r\n')).toEqual([
    'name,id,state,code,detail,hint',
    'rig-b,,failed,unreachable,"not connected, it seems",check it',
    'rig-a,a,done,,xmrig-1 is stopped,',
    '',
  ]);
});
