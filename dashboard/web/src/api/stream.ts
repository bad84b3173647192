// The live stream, opened by hand: EventSource gives up at any HTTP error and does not say which.

import { Failure, failure } from './client';

export interface Message { event: string; data: string }

/** Longest line waited for without an end: far above a snapshot of 20 000 rigs. */
const MAX_PENDING = 32 * 1024 * 1024;

/** Server-sent events, as text comes in. */
export class Parser {
  private rest = '';
  private event = '';
  private data: string[] = [];

  /** The messages that this piece completes. */
  feed(piece: string): Message[] {
    const messages: Message[] = [];
    // A large snapshot comes in many pieces: look for an end only in what is new.
    const lines = piece.split('\n');
    lines[0] = this.rest + (lines[0] ?? '');
    this.rest = lines.pop() ?? '';
    if (this.rest.length > MAX_PENDING) throw new Error('an event without an end');
    for (const raw of lines) {
      const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
      if (line === '') {
        if (this.data.length > 0) messages.push({ event: this.event || 'message', data: this.data.join('\n') });
        this.event = '';
        this.data = [];
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
      if (field === 'event') this.event = value;
      else if (field === 'data') this.data.push(value);
    }
    return messages;
  }
}

/** Heartbeats come each 15 s; two missed and some slack mean that nobody is there. */
export const SILENCE_MS = 35_000;
/** Connecting takes a moment; a gateway that accepts and says nothing is not a gateway. */
const HELLO_MS = 10_000;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;

/** What each stream begins with, the jobs under way among it. */
const GREETINGS = new Set(['hello', 'snapshot', 'pairing', 'job']);

export type Link =
  /** First try. */
  | { kind: 'connecting' }
  | { kind: 'live' }
  /** Nobody looks: closed on purpose. */
  | { kind: 'paused' }
  /** Down since; next try at. Milliseconds. */
  | { kind: 'lost'; since: number; retryAt: number; failure: Failure | null };

/** What the stream needs of the world; tests have a clock of their own. */
export interface World {
  /** Opens the stream, uncompressed where it is to be plain; says that it is let in, and hands pieces of text over until it ends. Throws a `Failure` for an HTTP error. */
  connect(signal: AbortSignal, plain: boolean, onLetIn: () => void, onText: (piece: string) => void): Promise<void>;
  now(): number;
  after(ms: number, run: () => void): () => void;
  random(): number;
}

export interface Listener {
  onMessage(message: Message): void;
  onLink(link: Link): void;
  onSignedOut(): void;
}

export class Stream {
  private link: Link = { kind: 'connecting' };
  private attempt = 0;
  private lostSince: number | null = null;
  private cancelTimer: () => void = () => undefined;
  private abort: AbortController | null = null;
  private isLetIn = false;
  private isHeard = false;
  /** One was let in and never heard: something on the way keeps compressed pieces back. */
  private plain = false;

  constructor(private readonly world: World, private readonly listener: Listener) {}

  open(): void {
    this.close();
    const abort = new AbortController();
    this.abort = abort;
    if (this.lostSince === null) this.tell({ kind: 'connecting' });
    this.watch(HELLO_MS);
    this.isLetIn = false;
    this.isHeard = false;
    const onLetIn = () => {
      if (!abort.signal.aborted) this.isLetIn = true;
    };
    const parser = new Parser();
    const onText = (piece: string) => {
      if (abort.signal.aborted) return;
      this.isHeard = true;
      for (const message of parser.feed(piece)) {
        this.onMessage(message);
        if (abort.signal.aborted) return;
      }
    };
    this.world.connect(abort.signal, this.plain, onLetIn, onText).then(
      () => this.onEnd(abort, null),
      (thrown: unknown) => this.onEnd(abort, failure(thrown)),
    );
  }

  /** Nobody looks at the page. */
  pause(): void {
    this.close();
    this.lostSince = null;
    this.attempt = 0;
    this.tell({ kind: 'paused' });
  }

  /** A frame did not fit: begin anew with a snapshot. */
  resync(): void {
    this.lose(null);
  }

  close(): void {
    this.cancelTimer();
    this.abort?.abort();
    this.abort = null;
  }

  private onMessage(message: Message): void {
    this.watch(SILENCE_MS);
    this.lostSince = null;
    // What a stream begins with proves little: one that breaks right after it must not be reopened each second.
    if (!GREETINGS.has(message.event)) this.attempt = 0;
    if (this.link.kind !== 'live') this.tell({ kind: 'live' });
    if (message.event === 'bye') {
      this.attempt = 1;
      this.lose(null);
      return;
    }
    this.listener.onMessage(message);
  }

  private onEnd(abort: AbortController, why: Failure | null): void {
    if (this.abort !== abort) return;
    if (why?.status === 401) {
      this.close();
      this.listener.onSignedOut();
      return;
    }
    this.lose(why);
  }

  private lose(why: Failure | null): void {
    this.close();
    this.plain ||= this.isLetIn && !this.isHeard;
    const now = this.world.now();
    this.lostSince ??= now;
    const pause = Math.min(FIRST_RETRY_MS * 2 ** this.attempt, LAST_RETRY_MS);
    this.attempt += 1;
    // Half fixed, half by lot: two hundred pages must not come back in the same instant.
    const jittered = pause * (0.5 + this.world.random());
    const wait = Math.max(jittered, (why?.retryAfter ?? 0) * 1000);
    this.tell({ kind: 'lost', since: this.lostSince, retryAt: now + wait, failure: why });
    this.cancelTimer = this.world.after(wait, () => this.open());
  }

  private watch(ms: number): void {
    this.cancelTimer();
    this.cancelTimer = this.world.after(ms, () => this.lose(null));
  }

  private tell(link: Link): void {
    this.link = link;
    this.listener.onLink(link);
  }
}
