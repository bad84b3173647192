// Ctrl+K: to any rig or page by its name. ?: which keys there are.

import { useId, useState } from 'preact/hooks';

import { closeDialog, open } from '../store/dialogs';
import { rigs } from '../store/live';
import { prefs } from '../store/prefs';
import { NEW } from '../store/profiles';
import { go, href } from '../store/route';
import { Dialog } from './dialog';

interface Entry { label: string; note: string; run: () => void }

const PAGES = ['Overview', 'Rigs', 'Profiles', 'Activity', 'Pairing', 'Settings'];
/** As many as fit without scrolling. */
const MAX_ENTRIES = 10;

function entries(text: string): Entry[] {
  const wanted = text.trim().toLowerCase();
  const fixed: Entry[] = [
    ...PAGES.map((page) => ({ label: page, note: 'page', run: () => go(href(page.toLowerCase())) })),
    { label: 'Add peer', note: 'action', run: () => open({ kind: 'add' }) },
    { label: 'New profile', note: 'action', run: () => go(href('profiles', NEW)) },
    { label: 'Show pairing code', note: 'action', run: () => go(href('pairing')) },
  ].filter((entry) => entry.label.toLowerCase().includes(wanted));
  const found: Entry[] = [];
  for (const rig of rigs.value) {
    if (found.length + fixed.length >= MAX_ENTRIES || wanted === '') break;
    if (rig.name.toLowerCase().includes(wanted) || (rig.address ?? '').includes(wanted)) {
      found.push({ label: rig.name, note: rig.word, run: () => go(href('rig', rig.id)) });
    }
  }
  return [...found, ...fixed].slice(0, MAX_ENTRIES);
}

export function Palette() {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const id = useId();
  const list = entries(text);
  const current = Math.min(at, list.length - 1);
  const run = (entry: Entry | undefined) => {
    if (!entry) return;
    closeDialog();
    entry.run();
  };
  return (
    <Dialog title="Go to" onClose={closeDialog} onSubmit={() => run(list[current])}>
      <input
        data-focus
        class="search"
        role="combobox"
        aria-label="Rig, page or action"
        aria-expanded="true"
        aria-controls={id}
        aria-activedescendant={list.length > 0 ? `${id}-${current}` : undefined}
        placeholder="Rig, page or action"
        autocomplete="off"
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (step === undefined || list.length === 0) return;
          event.preventDefault();
          setAt((current + step + list.length) % list.length);
        }}
      />
      <ul class="palette" role="listbox" id={id} aria-label="Matches">
        {list.map((entry, index) => (
          <li key={entry.label + entry.note} id={`${id}-${index}`} role="option" aria-selected={index === current} onClick={() => run(entry)}>
            {entry.label} <span class="t2 small">{entry.note}</span>
          </li>
        ))}
      </ul>
      {list.length === 0 && <p class="t2">Nothing of that name.</p>}
    </Dialog>
  );
}

const KEYS: [string, string][] = [
  ['/', 'Filter rigs'], ['Ctrl K', 'Go to a rig, a page, an action'], ['?', 'This list'], ['↑ ↓ or j k', 'Move in the table'], ['← →', 'Controls of the row'],
  ['Home End PgUp PgDn', 'Far moves'], ['Enter', 'Open the rig'], ['Space or x', 'Tick the rig'], ['Shift ↑ ↓', 'Extend the selection'], ['p', 'Ping the rig'], ['Esc', 'Clear, close'],
];

export function Keys() {
  return (
    <Dialog title="Keys" onClose={closeDialog}>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      {!prefs.value.keys && <p class="t2">Single letters are switched off in Settings.</p>}
    </Dialog>
  );
}

/** Whether a dialog is open, whoever opened it. */
function overlaid(): boolean {
  return document.querySelector('dialog[open]') !== null;
}

/** Keys that work on every page. */
export function onGlobalKey(event: KeyboardEvent): void {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
    event.preventDefault();
    if (!overlaid()) open({ kind: 'palette' });
    return;
  }
  const target = event.target as HTMLElement;
  const typing = target.closest('input:not([type=checkbox]), textarea, select') !== null;
  if (typing || event.ctrlKey || event.metaKey || event.altKey || overlaid() || !prefs.value.keys) return;
  if (event.key === '/') {
    event.preventDefault();
    const box = document.getElementById('filter');
    if (box) box.focus();
    else go(href('rigs'), '#filter');
  } else if (event.key === '?') {
    open({ kind: 'keys' });
  }
}
