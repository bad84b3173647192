// Console lines kept in the page: the newest, with gaps told.

import type { LogPage } from '../api/types';
import { plural } from './format';

/** A screen has fifty lines; this is some minutes of a talkative program. */
export const MAX_LINES = 5000;

export interface Line { key: number; text: string; kind: 'line' | 'gap' }

export class Ring {
  lines: Line[] = [];
  /** Number of the newest line had; null before the first page. */
  newest: number | null = null;
  private key = 0;

  /** Takes a page; how many lines came. */
  add(page: LogPage): number {
    if (this.newest !== null && page.newest < this.newest) {
      // Numbers go on above those from before a restart, but where the rig's clock went back meanwhile.
      this.newest = null;
      this.push('gap', 'The node of the rig was started anew');
      return 0;
    }
    if (page.lost > 0 && this.newest !== null) this.push('gap', `${plural(page.lost, 'line')} dropped`);
    for (const line of page.lines) this.push('line', line.text);
    this.newest = page.newest;
    if (this.lines.length > MAX_LINES) this.lines = this.lines.slice(-MAX_LINES);
    return page.lines.length;
  }

  private push(kind: Line['kind'], text: string): void {
    this.key += 1;
    this.lines.push({ key: this.key, text, kind });
  }
}

/** How a line is coloured; its own words say the same. */
export function level(text: string): 'crit' | 'warn' | 'ok' | '' {
  if (/\b(error|failed|failure|fatal|panic|rejected|refused)\b/i.test(text)) return 'crit';
  if (/\b(warn|warning|timeout|disconnected|retry)\b/i.test(text)) return 'warn';
  return /\baccepted\b/i.test(text) ? 'ok' : '';
}
