// A miner's console, followed while somebody looks.

import { Component } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

import { ask, failure, part, type Failure } from '../api/client';
import type { LogPage } from '../api/types';
import { level, Ring, type Line } from '../logic/ring';
import { Trouble } from './parts';
import { save } from './save';

/** Lines asked for first; a few screens. */
const FIRST_LINES = 500;
const MORE_LINES = 1000;
/** How long the rig waits for a new line before it answers without. */
const WAIT_SECONDS = 20;
const RETRY_MS = 5000;
/** An answer at once with nothing in it must not become a busy loop. */
const PAUSE_MS = 300;
/** Lines drawn as one block: what is out of sight is not laid out. */
const CHUNK = 100;

export function Logs({ rig, miner }: { rig: string; miner: string }) {
  const ring = useRef(new Ring());
  const [version, setVersion] = useState(0);
  const [problem, setProblem] = useState<Failure | null>(null);
  const [wanted, setWanted] = useState('');
  const [wrap, setWrap] = useState(false);
  const [following, setFollowing] = useState(true);
  const [unread, setUnread] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const follows = useRef(true);

  useEffect(() => {
    const abort = new AbortController();
    ring.current = new Ring();
    setVersion((v) => v + 1);
    void tail(abort.signal, rig, miner, ring, (came) => {
      setVersion((v) => v + 1);
      if (!follows.current) setUnread((n) => n + came);
    }, setProblem);
    return () => abort.abort();
  }, [rig, miner]);

  useLayoutEffect(() => {
    if (follows.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [version, wrap, wanted]);

  const follow = (on: boolean) => {
    follows.current = on;
    setFollowing(on);
    if (!on) return;
    setUnread(0);
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  };
  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
    if (atEnd !== follows.current) follow(atEnd);
  };
  const text = () => ring.current.lines.map((line) => line.text).join('\n');
  const needle = wanted.trim().toLowerCase();
  const lines = needle === '' ? ring.current.lines : ring.current.lines.filter((line) => line.text.toLowerCase().includes(needle));
  return (
    <div class="logs">
      <div class="row">
        <input type="search" class="search" aria-label="Filter lines" placeholder="Filter lines" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
        <label class="tickline">
          <input type="checkbox" checked={wrap} onChange={(event) => setWrap(event.currentTarget.checked)} /> Wrap
        </label>
        <label class="tickline">
          <input type="checkbox" checked={following} onChange={(event) => follow(event.currentTarget.checked)} /> Follow
        </label>
        <button type="button" onClick={() => save(`${miner}.log`, 'text/plain', `${text()}\n`)}>
          Download
        </button>
      </div>
      {problem && <Trouble failure={problem} />}
      <div class={wrap ? 'console wrap' : 'console'} ref={box} onScroll={onScroll} tabIndex={0} role="region" aria-label={`Console of ${miner}`}>
        {chunks(lines).map((chunk) => (
          <Chunk key={chunk[0]?.key} lines={chunk} last={chunk.at(-1)?.key ?? 0} />
        ))}
        {lines.length === 0 && !problem && <p class="t2">{needle === '' ? 'No line yet.' : 'No line has this.'}</p>}
      </div>
      {!following && (
        <button type="button" class="jump" onClick={() => follow(true)}>
          Jump to newest{unread > 0 ? ` · ${unread}` : ''}
        </button>
      )}
    </div>
  );
}

/** Blocks with fixed borders, so that a new line redraws the last block alone. */
function chunks(lines: Line[]): Line[][] {
  const found: Line[][] = [];
  let border = -1;
  for (const line of lines) {
    const at = Math.floor(line.key / CHUNK);
    if (at !== border) found.push([]);
    border = at;
    found.at(-1)?.push(line);
  }
  return found;
}

/** Drawn again only when its own lines change. */
class Chunk extends Component<{ lines: Line[]; last: number }> {
  override shouldComponentUpdate(next: { lines: Line[]; last: number }): boolean {
    const { lines, last } = this.props;
    return next.last !== last || next.lines.length !== lines.length || next.lines.some((line, at) => line.key !== lines[at]?.key);
  }

  override render() {
    return (
      <div class="chunk">
        {this.props.lines.map((line) => (
          <div key={line.key} class={line.kind === 'gap' ? 'gap' : level(line.text)}>
            {line.text || ' '}
          </div>
        ))}
      </div>
    );
  }
}

async function tail(
  signal: AbortSignal,
  rig: string,
  miner: string,
  ring: { current: Ring },
  onLines: (came: number) => void,
  onProblem: (problem: Failure | null) => void,
): Promise<void> {
  const path = `/remote/${part(rig)}/logs/${part(miner)}`;
  while (!signal.aborted) {
    await seen(signal);
    const { newest } = ring.current;
    const query = newest === null ? `lines=${FIRST_LINES}` : `lines=${MORE_LINES}&after=${newest}&wait=${WAIT_SECONDS}`;
    try {
      const page = await ask<LogPage>('GET', `${path}?${query}`, undefined, signal);
      if (signal.aborted) return;
      onProblem(null);
      onLines(ring.current.add(page));
      await pause(signal, PAUSE_MS);
    } catch (thrown) {
      if (signal.aborted) return;
      onProblem(failure(thrown));
      await pause(signal, RETRY_MS);
    }
  }
}

function pause(signal: AbortSignal, ms: number): Promise<void> {
  return new Promise((wake) => {
    const end = () => {
      clearTimeout(timer);
      // The signal lives as long as the console is open: a listener for each pause would stay with it.
      signal.removeEventListener('abort', end);
      wake();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}

/** Waits until the tab is looked at. */
function seen(signal: AbortSignal): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((wake) => {
    const check = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener('visibilitychange', check);
      wake();
    };
    document.addEventListener('visibilitychange', check);
    signal.addEventListener('abort', check, { once: true });
  });
}
