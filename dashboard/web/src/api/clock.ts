// The node's clock. Ages and spans go by it, whatever the clock of the machine that shows the page says.

import { signal } from '@preact/signals';

/** A frame's way here, and what whole seconds leave out: less than this is no other clock. */
const SLACK_SECONDS = 2;

/** Seconds that the node's clock is before ours. */
const ahead = signal(0);
let streamed = false;
/** Whether the last frame came late by our clock: one alone was held up on its way, two are another clock. */
let late = false;

/** Takes the time that a frame of the stream says, Unix seconds. */
export function onFrameTime(at: number): void {
  const first = !streamed;
  streamed = true;
  const wasLate = late;
  late = at - Date.now() / 1000 < ahead.peek() - SLACK_SECONDS;
  if (first || !late || wasLate) take(at);
}

/** Takes the `Date` of an answer, until the stream says the time: only this is known before the first chart is asked for. */
export function onDate(date: string | null): void {
  // Something between may have written it by a clock of its own.
  if (!streamed && date !== null) take(Date.parse(date) / 1000);
}

function take(at: number): void {
  const found = at - Date.now() / 1000;
  if (Math.abs(found - ahead.peek()) > SLACK_SECONDS) ahead.value = Math.round(found + 0.5);
}

/** Seconds that the node's clock is before ours; whoever reads it hears of another. */
export function clockAhead(): number {
  return ahead.value;
}

/** The node's time, milliseconds. */
export function nodeMillis(): number {
  return Date.now() + 1000 * ahead.value;
}

/** The node's time, Unix seconds. */
export function nodeNow(): number {
  return Math.floor(nodeMillis() / 1000);
}
