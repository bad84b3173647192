// Where the page begins: who is here, which page, and what is told while it is open.

import { effect } from '@preact/signals';
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';

import './styles.css';
import { failure, type Failure } from './api/client';
import { ActivityPage } from './pages/activity';
import { Login } from './pages/login';
import { More } from './pages/more';
import { Overview } from './pages/overview';
import { Pairing } from './pages/pairing';
import { Profiles } from './pages/profiles';
import { RigPage } from './pages/rig';
import { Rigs } from './pages/rigs';
import { Settings } from './pages/settings';
import { announceChanges } from './store/announce';
import { closeDialog } from './store/dialogs';
import { forgetDrafts } from './store/drafts';
import { closeJob } from './store/jobs';
import { counts, startLive, stopLive } from './store/live';
import { applyPrefs } from './store/prefs';
import { loadProfiles, profiles } from './store/profiles';
import { followAddressBar, go, href, route, takeLanding } from './store/route';
import { loadSession, session, sessionFailure, signIn } from './store/session';
import { clearSelection } from './store/table';
import { toasts } from './store/toast';
import { Dialogs } from './ui/dialogs';
import { Head, Nav } from './ui/frame';
import { onGlobalKey } from './ui/palette';
import { Skeleton, Trouble } from './ui/parts';
import { Toasts } from './ui/toasts';

function Page() {
  const { page, arg } = route.value;
  switch (page) {
    case 'overview': return <Overview />;
    case 'rigs': return <Rigs />;
    case 'rig': return <RigPage key={arg} id={arg ?? ''} />;
    case 'profiles': return <Profiles name={arg} />;
    case 'activity': return <ActivityPage />;
    case 'pairing': return <Pairing />;
    case 'settings': return <Settings />;
    case 'more': return <More />;
    default:
      return (
        <>
          <Head title="No such page" />
          <p class="empty">
            <a href={href('overview')}>To the overview</a>
          </p>
        </>
      );
  }
}

function App() {
  const [linkFailure, setLinkFailure] = useState<Failure | null>(null);
  const [settled, setSettled] = useState(false);
  useEffect(() => void enter(setLinkFailure).finally(() => setSettled(true)), []);
  const signed = session.value?.signed_in;
  if (!settled) {
    return (
      <main class="alone">
        <Skeleton />
      </main>
    );
  }
  if (signed === undefined) return <NoServer />;
  if (!signed) return <Login linkFailure={linkFailure} />;
  return (
    <div class="app">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          // The fragment is the route: the browser's own jump would leave the page.
          event.preventDefault();
          document.getElementById('main')?.focus();
        }}
      >
        Skip to content
      </a>
      <Nav />
      <main id="main" tabIndex={-1}>
        <Page />
      </main>
      <Dialogs />
      <Toasts />
    </div>
  );
}

/** The node is gone before it said anything: its own state, and never the sign-in page. */
function NoServer() {
  const [busy, setBusy] = useState(false);
  const retry = async () => {
    setBusy(true);
    await loadSession();
    setBusy(false);
  };
  useEffect(() => {
    const timer = setInterval(() => void loadSession(), RETRY_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <main class="alone">
      <div class="card">
        <h1>The node cannot be reached</h1>
        {sessionFailure.value && <Trouble failure={sessionFailure.value} />}
        <p class="t2">Mining goes on without this page. It comes back by itself when the node does.</p>
        <button type="button" class="primary" disabled={busy} onClick={() => void retry()}>
          {busy ? 'Trying…' : 'Retry'}
        </button>
      </div>
    </main>
  );
}

const RETRY_MS = 5000;

/** Takes a one-time link out of the address bar before anything else can read it. */
async function enter(onLinkFailure: (failure: Failure) => void): Promise<void> {
  const { page, arg } = route.value;
  if (page === 'link') {
    history.replaceState(null, '', location.pathname + location.search);
    route.value = { page: 'overview', arg: null, query: new URLSearchParams() };
    try {
      await signIn({ link: arg ?? '' });
      return;
    } catch (thrown) {
      onLinkFailure(failure(thrown));
    }
  }
  await loadSession();
}

applyPrefs();
followAddressBar();
addEventListener('keydown', onGlobalKey);

// A link opened in a tab that already shows the page changes the fragment alone.
addEventListener('hashchange', () => {
  if (route.value.page === 'link') location.reload();
});

/** What lies over the page. */
function closeOverlays(): void {
  closeDialog();
  closeJob();
}

let inside = false;
effect(() => {
  const signed = session.value?.signed_in === true;
  if (signed === inside) return;
  inside = signed;
  // What came of an order that found nobody signed in is not for whoever signs in next.
  toasts.value = [];
  if (signed) {
    startLive();
    void loadProfiles();
    return;
  }
  stopLive();
  closeOverlays();
  profiles.value = null;
  clearSelection();
  forgetDrafts();
});

// Faults alone: a badge that counts everything is soon not read.
effect(() => {
  const faults = counts.value.crit;
  document.title = faults > 0 ? `(${faults}) miner-ctrl` : 'miner-ctrl';
});

announceChanges();

// A page change is told to screen readers by its title; the first page needs no telling.
let pageShown = route.value.page + (route.value.arg ?? '');
effect(() => {
  const shown = route.value.page + (route.value.arg ?? '');
  if (shown === pageShown) return;
  pageShown = shown;
  closeOverlays();
  const focus = takeLanding();
  requestAnimationFrame(() => {
    (document.querySelector<HTMLElement>(focus) ?? document.querySelector<HTMLElement>('h1'))?.focus({ preventScroll: true });
    document.getElementById('main')?.scrollTo(0, 0);
  });
});

if (location.hash === '') go(href('overview'));
const root = document.getElementById('page');
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
