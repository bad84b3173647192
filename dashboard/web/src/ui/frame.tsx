// What surrounds every page: navigation, title, live state.

import type { ComponentChildren } from 'preact';

import { clock, plural } from '../logic/format';
import { jobSummary, jobTitle } from '../logic/job';
import { show, shownJob, underWay } from '../store/jobs';
import { counts, heard, link, node, now, pending, retryNow, upgraded } from '../store/live';
import { phone, prefer, prefs, type Theme } from '../store/prefs';
import { profiles } from '../store/profiles';
import { href, route } from '../store/route';
import { exposed } from '../store/session';
import { Icon, Shape } from './shape';

const PAGES: [page: string, label: string][] = [
  ['overview', 'Overview'], ['rigs', 'Rigs'], ['profiles', 'Profiles'], ['activity', 'Activity'], ['pairing', 'Pairing'], ['settings', 'Settings'],
];
/** Five fit at the foot of a phone; pairing and settings are behind the last. */
const TABS = ['overview', 'rigs', 'profiles', 'activity'];
const BEHIND_MORE = ['more', 'pairing', 'settings'];

export function Nav() {
  const { page } = route.value;
  const current = page === 'rig' ? 'rigs' : page;
  if (phone.value) {
    return (
      <nav class="tabs" aria-label="Pages">
        {PAGES.filter(([key]) => TABS.includes(key)).map(([key, label]) => (
          <a key={key} href={href(key)} aria-current={current === key ? 'page' : undefined}>
            <Icon name={key} />
            {label}
          </a>
        ))}
        <a href={href('more')} aria-current={BEHIND_MORE.includes(current) ? 'page' : undefined}>
          <Icon name="settings" />
          More
          {pending.value.length > 0 && <span class="badge">{pending.value.length}</span>}
        </a>
      </nav>
    );
  }
  const me = node.value;
  return (
    <nav class="side" aria-label="Pages">
      <p class="brand">
        <span>miner-ctrl</span>
      </p>
      <ul>
        {PAGES.map(([key, label]) => (
          <li key={key}>
            <a href={href(key)} title={label} aria-current={current === key ? 'page' : undefined}>
              <Icon name={key} />
              <span class="label">{label}</span>
              <NavCount page={key} />
            </a>
          </li>
        ))}
      </ul>
      <div class="foot">
        {me && (
          <p class="label">
            <b>{me.name}</b>
            <br />
            <span class="t2">
              {me.role} · {me.version}
            </span>
          </p>
        )}
        <ThemePick />
      </div>
    </nav>
  );
}

function NavCount({ page }: { page: string }) {
  if (page === 'rigs' && counts.value.all > 0) return <span class="count">{counts.value.all}</span>;
  if (page === 'profiles' && profiles.value) return <span class="count">{profiles.value.length}</span>;
  if (page === 'pairing' && pending.value.length > 0) {
    return (
      <span class="badge" aria-label={plural(pending.value.length, 'request')}>
        {pending.value.length}
      </span>
    );
  }
  return null;
}

export const THEMES: [Theme, string][] = [['system', 'System theme'], ['dark', 'Dark'], ['light', 'Light']];

function ThemePick() {
  return (
    <select class="label" aria-label="Theme" value={prefs.value.theme} onChange={(event) => prefer({ theme: event.currentTarget.value as Theme })}>
      {THEMES.map(([key, text]) => (
        <option key={key} value={key}>
          {text}
        </option>
      ))}
    </select>
  );
}

/** Down for this long is no hiccup any more. */
const OFFLINE_SECONDS = 20;
/** The node says something each 15 s, if only that it is there. */
const SILENT_SECONDS = 20;

/** What the stream of events is at; "Live" is said only while they arrive. */
function words(state: typeof link.value): ['ok' | 'off' | 'wait', string] {
  if (state.kind === 'live') {
    const silence = heard.value === null ? 0 : now.value - heard.value;
    return silence < SILENT_SECONDS ? ['ok', 'Live'] : ['wait', `Nothing heard for ${Math.floor(silence)} s`];
  }
  if (state.kind !== 'lost') return ['wait', state.kind === 'paused' ? 'Paused' : 'Connecting…'];
  const since = state.since / 1000;
  if (now.value - since >= OFFLINE_SECONDS) return ['off', `Offline since ${clock(since)}`];
  return ['wait', `Reconnecting (${Math.max(0, Math.ceil(state.retryAt / 1000 - now.value))} s)`];
}

export function LiveState() {
  const [state, text] = words(link.value);
  // An element of its own: in a flex box Firefox shows no text that comes in the place of a lone space.
  return (
    <span class={`live ${state}`}>
      <Shape state={state} />
      <span>{text}</span>
    </span>
  );
}

export function Head({ title, back, children }: { title: ComponentChildren; back?: string; children?: ComponentChildren }) {
  return (
    <>
      <header class="head">
        {back && (
          <a class="back" href={back} aria-label="Back">
            ‹
          </a>
        )}
        <h1 tabIndex={-1}>{title}</h1>
        <LiveState />
        <UnderWay />
        <span class="actions">{children}</span>
      </header>
      <Exposed />
      <Gone />
      <Upgraded />
    </>
  );
}

/** The job under way, wherever one is; it leads to its results. */
function UnderWay() {
  const [job, ...more] = underWay.value;
  if (!job || shownJob.value === job.id) return null;
  return (
    <button type="button" class="chip" onClick={() => show(job.id)}>
      <Shape state="wait" />
      <span class="clip">
        {jobTitle(job)}: {jobSummary(job)}
      </span>
      {more.length > 0 && <span class="t2">+{more.length}</span>}
    </button>
  );
}

/** Said on every page, as long as it is so. */
export function Exposed() {
  if (!exposed.value) return null;
  return (
    <div class="banner exposed" role="note">
      <Shape state="crit" />
      <p>
        <b>This connection is not encrypted.</b> Whoever is on the way can read and change what you see and type, passwords too.
      </p>
    </div>
  );
}

/** A page before a node of another version may say and ask what no longer holds. When to reload is the person's to say: something may be half written. */
function Upgraded() {
  if (upgraded.value === null) return null;
  return (
    <div class="banner" role="status">
      <Shape state="wait" />
      <p>The node is version {upgraded.value} now, and this page came with another.</p>
      <button type="button" onClick={() => location.reload()}>
        Reload
      </button>
    </div>
  );
}

/** Data stays, dimmed, with its age; nothing can be changed until the node is back. */
function Gone() {
  const state = link.value;
  if (state.kind !== 'lost' || now.value - state.since / 1000 < 3) return null;
  return (
    <div class="banner" role="status">
      <Shape state="off" />
      <p>
        {state.failure && state.failure.code !== 'no-server' ? state.failure.detail : 'The node does not answer.'}
        {heard.value !== null && <> What you see is from {clock(heard.value)}.</>} Mining goes on without this page.
      </p>
      <button type="button" onClick={retryNow}>
        Retry now
      </button>
    </div>
  );
}
