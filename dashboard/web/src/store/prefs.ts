// How this browser shows the page. Kept in the browser alone.

import { effect, signal } from '@preact/signals';

export type Theme = 'system' | 'dark' | 'light';
export type Density = 'compact' | 'normal' | 'comfortable';
interface Prefs { theme: Theme; density: Density; pages: boolean; keys: boolean }

const KEY = 'miner-ctrl';
const DEFAULTS: Prefs = { theme: 'system', density: 'normal', pages: false, keys: true };

/** What this browser keeps; `otherwise` where it keeps nothing. */
function read(otherwise: Prefs): Prefs {
  try {
    const text = localStorage.getItem(KEY);
    if (text === null) return otherwise;
    const kept = JSON.parse(text) as Partial<Prefs>;
    return {
      theme: kept.theme === 'dark' || kept.theme === 'light' ? kept.theme : DEFAULTS.theme,
      density: kept.density === 'compact' || kept.density === 'comfortable' ? kept.density : DEFAULTS.density,
      pages: kept.pages === true,
      keys: kept.keys !== false,
    };
  } catch {
    // No storage (private window) or not ours.
    return otherwise;
  }
}

export const prefs = signal<Prefs>(read(DEFAULTS));

export function prefer(change: Partial<Prefs>): void {
  // Another tab may have kept others since.
  prefs.value = { ...read(prefs.value), ...change };
}

/** Writes preferences to the document and keeps them; what another tab keeps holds here, too. */
export function applyPrefs(): void {
  addEventListener('storage', ({ key }) => {
    if (key === KEY) prefs.value = read(prefs.value);
  });
  effect(() => {
    const { theme } = prefs.value;
    const root = document.documentElement;
    if (theme === 'system') root.removeAttribute('data-theme');
    else root.dataset.theme = theme;
    try {
      localStorage.setItem(KEY, JSON.stringify(prefs.value));
    } catch {
      // It holds for this visit.
    }
  });
}

/** Row heights of the table, and that of a phone's two-line rows, px. */
const HEIGHTS: Record<Density, number> = { compact: 30, normal: 36, comfortable: 44 };
const PHONE_ROW = 56;
const COARSE_ROW = 44;

const narrow = matchMedia('(max-width: 720px)');
const dark = matchMedia('(prefers-color-scheme: dark)');
const coarse = matchMedia('(pointer: coarse)');
export const phone = signal(narrow.matches);
/** What the system wishes; canvases are drawn anew when it turns. */
export const darkSystem = signal(dark.matches);
dark.addEventListener('change', () => (darkSystem.value = dark.matches));
narrow.addEventListener('change', () => (phone.value = narrow.matches));

export function rowHeight(): number {
  if (phone.value) return PHONE_ROW;
  const height = HEIGHTS[prefs.value.density];
  return coarse.matches ? Math.max(height, COARSE_ROW) : height;
}
