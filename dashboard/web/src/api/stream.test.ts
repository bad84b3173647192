import { beforeEach, expect, test } from 'vitest';

import { Failure } from './client';
import { Parser, SILENCE_MS, Stream, type Link, type Message } from './stream';

/** A clock that moves when told, and streams that a test speaks for. */
class FakeWorld {
  time = 0;
  lot = 0.5;
  opened: { plain: boolean; letIn: () => void; say: (text: string) => void; end: () => void; fail: (failure: Failure) => void; signal: AbortSignal }[] = [];
  private timers: { at: number; run: () => void }[] = [];

  connect = (signal: AbortSignal, plain: boolean, letIn: () => void, say: (piece: string) => void) =>
    new Promise<void>((resolve, reject) => this.opened.push({ plain, letIn, say, end: resolve, fail: reject, signal }));
  now = () => this.time;
  random = () => this.lot;
  after = (ms: number, run: () => void) => {
    const timer = { at: this.time + ms, run };
    this.timers.push(timer);
    return () => void (this.timers = this.timers.filter((one) => one !== timer));
  };

  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = this.timers.filter((one) => one.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers = this.timers.filter((one) => one !== next);
      this.time = next.at;
      next.run();
    }
    this.time = end;
  }

  get last() {
    const found = this.opened.at(-1);
    if (!found) throw new Error('nothing was opened');
    return found;
  }
}

let world: FakeWorld;
let links: Link[];
let messages: Message[];
let signedOut: number;
let stream: Stream;

beforeEach(() => {
  world = new FakeWorld();
  links = [];
  messages = [];
  signedOut = 0;
  stream = new Stream(world, { onMessage: (message) => void messages.push(message), onLink: (link) => void links.push(link), onSignedOut: () => void (signedOut += 1) });
});

const hello = 'event: hello\ndata: {}\n\n';
const beat = 'event: hb\ndata: {}\n\n';
const settle = () => new Promise<void>((wake) => setTimeout(wake));
const kind = () => links.at(-1)?.kind;
const refused = (status: number, retryAfter: number | null = null) => new Failure('x', 'x', '', null, [], status, retryAfter);

test('events come out whole, however they are cut', () => {
  const text = 'id: 1\nevent: delta\ndata: {"a":1}\n\n: a comment\r\nevent: hb\r\ndata: {}\r\n\r\n';
  for (const size of [1, 2, 7, 100]) {
    const parser = new Parser();
    const found: Message[] = [];
    for (let at = 0; at < text.length; at += size) found.push(...parser.feed(text.slice(at, at + size)));
    expect(found).toEqual([{ event: 'delta', data: '{"a":1}' }, { event: 'hb', data: '{}' }]);
  }
});

test('it is live only once an event arrived', () => {
  stream.open();
  expect(kind()).toBe('connecting');
  world.last.say(hello);
  expect(kind()).toBe('live');
});

test('one that is let in and never heard is asked for uncompressed from then on', async () => {
  stream.open();
  expect(world.last.plain).toBe(false);
  // Not let in is another matter.
  world.last.fail(refused(503));
  await settle();
  world.pass(2000);
  expect(world.last.plain).toBe(false);
  world.last.letIn();
  world.last.say(hello);
  world.pass(SILENCE_MS + 2000);
  expect(world.last.plain).toBe(false);
  world.last.letIn();
  world.pass(SILENCE_MS);
  expect(world.last.plain).toBe(true);
  world.last.letIn();
  world.last.say(hello);
  world.pass(SILENCE_MS + 2000);
  expect(world.last.plain).toBe(true);
});

test('silence ends it, and it is opened again', () => {
  stream.open();
  world.last.say(hello);
  world.pass(SILENCE_MS - 1);
  world.last.say(beat);
  world.pass(SILENCE_MS - 1);
  expect(kind()).toBe('live');
  world.pass(1);
  expect(kind()).toBe('lost');
  expect(world.opened[0]?.signal.aborted).toBe(true);
  world.pass(1000);
  expect(world.opened.length).toBe(2);
});

test('tries become rarer up to half a minute, and since stays what it was', async () => {
  stream.open();
  const waits: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    world.last.fail(refused(0));
    await settle();
    const link = links.at(-1);
    if (link?.kind !== 'lost') throw new Error('lost');
    expect(link.since).toBe(0);
    waits.push(link.retryAt - world.time);
    world.pass(link.retryAt - world.time);
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

test('jitter spreads pages by half either way', async () => {
  stream.open();
  world.lot = 0;
  world.last.fail(refused(0));
  await settle();
  expect(links.at(-1)).toMatchObject({ kind: 'lost', retryAt: 500 });
});

test('Retry-After is waited for', async () => {
  stream.open();
  world.last.fail(refused(503, 20));
  await settle();
  expect(links.at(-1)).toMatchObject({ kind: 'lost', retryAt: 20_000 });
});

test('a 401 leads to the sign-in page and to no further try', async () => {
  stream.open();
  world.last.fail(refused(401));
  await settle();
  world.pass(600_000);
  expect(signedOut).toBe(1);
  expect(world.opened.length).toBe(1);
});

test('a good-bye is followed by a return after a while', () => {
  stream.open();
  world.last.say(hello + beat);
  world.last.say('event: bye\ndata: {"why":"shutdown"}\n\n');
  expect(kind()).toBe('lost');
  world.pass(999);
  expect(world.opened.length).toBe(1);
  world.pass(4001);
  expect(world.opened.length).toBe(2);
});

test('a stream that breaks after each greeting is not opened each second', () => {
  stream.open();
  const waits: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    world.last.say('event: hello\ndata: {}\n\nevent: snapshot\ndata: {}\n\nevent: pairing\ndata: {}\n\n');
    stream.resync();
    const link = links.at(-1);
    if (link?.kind !== 'lost') throw new Error('lost');
    waits.push(link.retryAt - world.time);
    world.pass(link.retryAt - world.time);
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000]);
});

test('pausing closes it and nothing opens it by itself', () => {
  stream.open();
  world.last.say(hello);
  stream.pause();
  expect(kind()).toBe('paused');
  expect(world.last.signal.aborted).toBe(true);
  world.last.say(beat);
  world.pass(600_000);
  expect(kind()).toBe('paused');
  expect(world.opened.length).toBe(1);
});

test('the end of an old stream does not end the new one', async () => {
  stream.open();
  const old = world.last;
  stream.open();
  world.last.say(hello);
  old.end();
  await settle();
  expect(kind()).toBe('live');
});
