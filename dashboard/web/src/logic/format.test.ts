import { expect, test } from 'vitest';

import { duration, hashrate, lastSeen, percent, ping, shortAddress, span, watts } from './format';
import { fieldErrors, fieldOf } from './pointer';

test('a rate is shown in the unit of its size, and unknown is not zero', () => {
  const shown: [number | null, string][] = [[0, '0.00 H/s'], [14.4, '14.40 H/s'], [220.21, '220.2 H/s'], [4_003_571, '4.00 MH/s'], [1.5e12, '1.50 TH/s'], [9e21, '9000.0 EH/s'], [null, '–']];
  for (const [rate, text] of shown) expect(hashrate(rate)).toBe(text);
});

test('a ping is whole milliseconds, or seconds', () => {
  expect([ping(null), ping(0), ping(3.4), ping(281)]).toEqual(['–', '< 1 ms', '3 ms', '281 ms']);
  expect([ping(999.4), ping(999.5), ping(4318)]).toEqual(['999 ms', '1.0 s', '4.3 s']);
});

test('power and parts are shown as they are said', () => {
  expect([null, 0, 420, 999.6, 85_240].map(watts)).toEqual(['–', '0 W', '420 W', '1000 W', '85.2 kW']);
  expect([null, 0, 0.0312, 1].map(percent)).toEqual(['–', '0.0 %', '3.1 %', '100.0 %']);
});

test('a span is one step of the unit that fits', () => {
  expect([18, 600, 3 * 3600, 3 * 86_400, -5].map(span)).toEqual(['18 s', '10 min', '3 h', '3 d', '0 s']);
  expect([59, 3900, 7200, 90_000].map(duration)).toEqual(['59 s', '1 h 5 min', '2 h', '1 d 1 h']);
});

test('last seen is now while online, whatever the clock says', () => {
  expect(lastSeen(1, true, 1000)).toBe('now');
  expect(lastSeen(null, false, 1000)).toBe('Never');
  expect(lastSeen(982, false, 1000)).toBe('18 s');
});

test('an address is shown without its noise', () => {
  expect(shortAddress('/ip4/192.168.1.9/tcp/9091/ws')).toBe('192.168.1.9:9091');
  expect(shortAddress('/ip6/fe80::1/tcp/9091/ws')).toBe('[fe80::1]:9091');
  expect(shortAddress('/dns/rig.lan/tcp/443/tls/ws')).toBe('rig.lan:443');
  expect(shortAddress('what is this')).toBe('what is this');
  expect(shortAddress(null)).toBe('–');
});

test('a refusal finds its field', () => {
  expect(fieldOf('#/pools/0/url')).toBe('pools.0.url');
  expect(fieldOf('#/a~1b~0c')).toBe('a/b~c');
  const refusal = { fields: [{ pointer: '#/pools/0/url', detail: 'has no port' }, { pointer: '#/other', detail: 'x' }] };
  expect(fieldErrors(refusal, ['pools.0.url'])).toEqual({ 'pools.0.url': 'Has no port' });
});
