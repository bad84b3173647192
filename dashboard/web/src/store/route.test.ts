import { expect, test, vi } from 'vitest';

vi.stubGlobal('location', { hash: '' });
const { href, parseRoute } = await import('./route');

test('a route is page, argument and query', () => {
  const { page, arg, query } = parseRoute('#/rig/a%2Fb?x=1&f=temp%3E80');
  expect([page, arg, query.get('f')]).toEqual(['rig', 'a/b', 'temp>80']);
  expect(parseRoute('').page).toBe('overview');
  expect(parseRoute('#/rig/%E0%A4%A').arg).toBeNull();
});

test('what is written is read back', () => {
  const { page, arg, query } = parseRoute(href('rig', 'a b/ü?', new URLSearchParams({ f: 'state:off x&y' })));
  expect([page, arg, query.get('f')]).toEqual(['rig', 'a b/ü?', 'state:off x&y']);
});
