import { beforeEach, expect, test, vi } from 'vitest';

const bar = { hash: '' };
const replaceState = vi.fn((_state: unknown, _title: string, to: string) => void (bar.hash = to));
vi.useFakeTimers();
vi.stubGlobal('location', bar);
vi.stubGlobal('history', { replaceState });
vi.stubGlobal('window', globalThis);
const { go, href, parseRoute, route, setQuery } = await import('./route');

beforeEach(() => {
  vi.runAllTimers();
  bar.hash = '#/rigs';
  route.value = parseRoute(bar.hash);
  replaceState.mockClear();
});

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

test('typing changes the route with each letter, and the address bar some times a second', () => {
  const text = 'state:offline'.repeat(20);
  for (let at = 1; at <= text.length; at += 1) {
    setQuery({ f: text.slice(0, at) });
    expect(route.value.query.get('f')).toBe(text.slice(0, at));
    vi.advanceTimersByTime(20);
  }
  vi.runAllTimers();
  expect(replaceState.mock.calls.length).toBeLessThan(25);
  expect(parseRoute(bar.hash).query.get('f')).toBe(text);
});

test('one change is in the address bar at once', () => {
  setQuery({ show: 'offline' });
  expect(bar.hash).toBe('#/rigs?show=offline');
});

test('a browser that refuses another address loses nothing that was typed', () => {
  replaceState.mockImplementationOnce(() => {
    throw new DOMException('The operation is insecure.', 'SecurityError');
  });
  setQuery({ f: 'a' });
  setQuery({ f: 'ab' });
  expect(route.value.query.get('f')).toBe('ab');
  vi.runAllTimers();
  expect(bar.hash).toBe('#/rigs?f=ab');
});

test('an address that comes late takes nobody back to the page before', () => {
  setQuery({ f: 'a' });
  setQuery({ f: 'ab' });
  bar.hash = '#/settings';
  vi.runAllTimers();
  expect(bar.hash).toBe('#/settings');
  expect(replaceState).toHaveBeenCalledTimes(1);
});

test('what was typed last is behind whoever goes on', () => {
  setQuery({ f: 'a' });
  setQuery({ f: 'ab' });
  go('#/settings');
  expect(replaceState).toHaveBeenLastCalledWith(null, '', '#/rigs?f=ab');
  expect(bar.hash).toBe('#/settings');
});
