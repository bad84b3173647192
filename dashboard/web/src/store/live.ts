// What the node tells while the page is open.

import { batch, computed, effect, signal } from '@preact/signals';

import { API, ask, Failure, failureOf } from '../api/client';
import { nodeMillis, nodeNow, onFrameTime } from '../api/clock';
import { Stream, type Link, type Message, type World } from '../api/stream';
import type { Activity, JobChange, NodeInfo, Pending } from '../api/types';
import { Fleet, type Frame } from '../logic/fleet';
import { count, type Rig } from '../logic/rig';
import { ranked } from '../logic/sort';
import { forgetJobs, onJob, resumeJobs } from './jobs';
import { session, signedOut } from './session';

/** A hidden tab lets go of its stream after this: a browser has six connections to a host over plain HTTP. */
const HIDDEN_MS = 30_000;
/** Entries of activity kept in the page; the Activity page asks for more. */
const MAX_ACTIVITY = 200;
/** Entries that Overview shows. */
export const LAST_ACTIVITIES = 8;

const fleet = new Fleet();
let ranks = new Map<string, number>();

/** Grows when rigs changed; read it to be drawn again. */
const changed = signal(0);
/** Whether a snapshot was ever seen: an empty fleet is not an unknown one. */
export const known = signal(false);
export const link = signal<Link>({ kind: 'connecting' });
export const pending = signal<Pending[]>([]);
export const activity = signal<Activity[]>([]);
export const node = signal<NodeInfo | null>(null);
/** The version that the node has now, when it is not the one that this page came with; null while it is. */
export const upgraded = signal<string | null>(null);
let version: string | null = null;
/** Unix seconds by the node's clock, one clock for all ages. */
export const now = signal(nodeNow());
/** When the data shown was current, by the same clock. */
export const heard = signal<number | null>(null);

export const rigs = computed<Rig[]>(() => {
  void changed.value;
  return [...fleet.byId.values()];
});
export const counts = computed(() => count(rigs.value));
/** Why nothing may be changed now; null when it may. */
export const readOnly = computed<string | null>(() => {
  if (link.value.kind === 'lost') return 'The node cannot be reached';
  const scope = session.value?.scope;
  return scope === 'read' ? 'You are signed in to read only' : null;
});
/** Data is old: shown dimmed. */
export const stale = computed(() => link.value.kind === 'lost');

export function rigById(id: string): Rig | undefined {
  void changed.value;
  return fleet.byId.get(id);
}

export function nameRanks(): Map<string, number> {
  return ranks;
}

let frame = 0;
/** However many frames come in, the page is drawn once. */
function draw(): void {
  if (frame !== 0) return;
  const run = () => {
    frame = 0;
    changed.value += 1;
  };
  // A hidden page gets no animation frames; it must not fall behind for ever.
  frame = document.hidden ? window.setTimeout(run, 0) : requestAnimationFrame(run);
}

function onMessage({ event, data }: Message): void {
  try {
    const value: unknown = JSON.parse(data);
    // A snapshot is kept while nothing changes: its time may be long ago.
    if (event === 'delta' || event === 'hb') onFrameTime((value as Frame).at);
    heard.value = nodeNow();
    switch (event) {
      case 'snapshot':
        fleet.snapshot(value as Frame);
        ranks = ranked(fleet.byId.values());
        // Both at once: a fleet that is known before it is drawn would be an empty one for a frame, and take the filter
        // away from under the one who types.
        batch(() => {
          known.value = true;
          changed.value += 1;
        });
        break;
      case 'delta':
        if (fleet.delta(value as Frame)) draw();
        break;
      case 'peers':
        if (fleet.peers(value as Frame)) {
          ranks = ranked(fleet.byId.values());
          draw();
          void loadNode();
        }
        break;
      case 'pairing':
        pending.value = (value as { pending: Pending[] }).pending;
        break;
      case 'activity':
        addActivity([value as Activity]);
        break;
      case 'job':
        onJob(value as JobChange);
        break;
      case 'hello':
        onVersion((value as { version: string }).version);
        // What came while there was no stream, or was left out of it.
        resumeJobs();
        void loadNode();
        void loadActivity();
        break;
    }
  } catch {
    // Cut off, altered or out of step: only a snapshot helps.
    stream.resync();
  }
}

/** The first greeting comes from the node that served this page. */
function onVersion(next: string): void {
  version ??= next;
  upgraded.value = next === version ? null : next;
}

/** The newest entries, as many as Overview shows. The stream brings what comes; the Activity page says what is wrong. */
async function loadActivity(): Promise<void> {
  try {
    addActivity((await ask<{ entries: Activity[] }>('GET', `/activity?limit=${LAST_ACTIVITIES}`)).entries);
  } catch {
    // Said where it is looked for.
  }
}

function addActivity(entries: Activity[]): void {
  const all = new Map([...entries, ...activity.value].map((entry) => [entry.id, entry]));
  activity.value = [...all.values()].sort((a, b) => b.id - a.id).slice(0, MAX_ACTIVITY);
}

export async function loadNode(): Promise<void> {
  try {
    node.value = await ask<NodeInfo>('GET', '/node/info');
  } catch {
    // The stream tells of a node that is gone; what was known stays.
  }
}

const world: World = {
  async connect(signal, plain, onLetIn, onText) {
    let response: Response;
    try {
      response = await fetch(`${API}/events${plain ? '?plain=true' : ''}`, { signal, headers: { Accept: 'text/event-stream' }, cache: 'no-store', credentials: 'same-origin' });
    } catch {
      throw new Failure('no-server', 'The node does not answer.', '', null, [], 0, null);
    }
    if (!response.ok) throw await failureOf(response);
    if (!response.body) return;
    onLetIn();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onText(value);
    }
  },
  now: nodeMillis,
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

const stream = new Stream(world, {
  onMessage,
  onLink: (next) => (link.value = next),
  onSignedOut: signedOut,
});

let started = false;
export function startLive(): void {
  // Rigs opened in tabs behind this one would take all connections, and this page would wait for one.
  if (document.hidden) stream.pause();
  else stream.open();
  if (started) return;
  started = true;
  const tick = () => (now.value = nodeNow());
  setInterval(tick, 1000);
  // Another clock is gone by at once.
  effect(() => void tick());
  let hiding = 0;
  const seen = () => {
    clearTimeout(hiding);
    if (session.value?.signed_in !== true) return;
    if (document.hidden) hiding = window.setTimeout(() => stream.pause(), HIDDEN_MS);
    else if (link.value.kind === 'paused') stream.open();
  };
  document.addEventListener('visibilitychange', seen);
  addEventListener('online', () => link.value.kind === 'lost' && stream.open());
}

export function retryNow(): void {
  stream.open();
}

/** Nobody is signed in: nothing of the fleet stays in the page. */
export function stopLive(): void {
  stream.close();
  fleet.clear();
  known.value = false;
  pending.value = [];
  activity.value = [];
  forgetJobs();
  node.value = null;
  changed.value += 1;
}
