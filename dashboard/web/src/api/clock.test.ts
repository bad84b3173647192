import { beforeEach, expect, test, vi } from 'vitest';

const OURS = Date.UTC(2026, 11, 1, 12) / 1000;
const HOUR = 3600;
let clock: typeof import('./clock');

beforeEach(async () => {
  vi.useFakeTimers({ now: OURS * 1000 + 400 });
  vi.resetModules();
  clock = await import('./clock');
});

test('a frame on its way is no other clock', () => {
  for (const at of [OURS, OURS - 1]) clock.onFrameTime(at);
  expect(clock.clockAhead()).toBe(0);
  expect(clock.nodeNow()).toBe(OURS);
});

test('a clock that is hours off is not gone by', () => {
  for (const at of [OURS - 3 * HOUR, OURS + 3 * HOUR]) {
    clock.onFrameTime(at);
    expect(Math.abs(clock.nodeNow() - at)).toBeLessThanOrEqual(1);
  }
});

test('a frame that was held up is no other clock, and two in a row are', () => {
  clock.onFrameTime(OURS);
  clock.onFrameTime(OURS - 60);
  expect(clock.clockAhead()).toBe(0);
  clock.onFrameTime(OURS);
  clock.onFrameTime(OURS - 60);
  clock.onFrameTime(OURS - 60);
  expect(Math.abs(clock.nodeNow() - (OURS - 60))).toBeLessThanOrEqual(1);
});

test('the time goes on between frames', () => {
  clock.onFrameTime(OURS - 3 * HOUR);
  vi.advanceTimersByTime(10_000);
  expect(Math.abs(clock.nodeNow() - (OURS - 3 * HOUR + 10))).toBeLessThanOrEqual(1);
});

test('the date of an answer counts until the stream says the time', () => {
  clock.onDate(null);
  clock.onDate('today');
  expect(clock.clockAhead()).toBe(0);
  clock.onDate(new Date((OURS - 3 * HOUR) * 1000).toUTCString());
  expect(Math.abs(clock.nodeNow() - (OURS - 3 * HOUR))).toBeLessThanOrEqual(1);
  clock.onFrameTime(OURS);
  clock.onDate(new Date((OURS + HOUR) * 1000).toUTCString());
  expect(Math.abs(clock.nodeNow() - OURS)).toBeLessThanOrEqual(1);
});
