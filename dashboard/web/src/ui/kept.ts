// The focus of whoever works with the keyboard, when what has it goes away: else the next Tab begins at the top of the page.

import type { RefObject } from 'preact';
import { useLayoutEffect } from 'preact/hooks';

interface Place {
  row: number;
  control: number;
}

/** In a table whose row goes with the focus in it, the focus goes to the row in its place, else to the heading above. */
export function useKeptFocus(box: RefObject<HTMLElement | null>): void {
  // Before the rows change.
  const had = box.current ? place(box.current) : null;
  useLayoutEffect(() => {
    if (had === null || box.current === null || document.activeElement !== document.body) return;
    const left = rows(box.current);
    const row = left[Math.min(had.row, left.length - 1)];
    const inside = row ? controls(row) : [];
    (inside[Math.min(had.control, inside.length - 1)] ?? box.current).focus();
  });
  useLayoutEffect(
    () => () => {
      if (!box.current?.contains(document.activeElement)) return;
      // On another page it is another page's.
      const heading = box.current.closest('section')?.querySelector<HTMLElement>('h2');
      queueMicrotask(() => {
        if (!heading?.isConnected || document.activeElement !== document.body) return;
        heading.tabIndex = -1;
        heading.focus();
      });
    },
    [],
  );
}

function place(box: HTMLElement): Place | null {
  const focused = document.activeElement;
  const row = focused?.closest<HTMLElement>('tbody tr');
  if (!focused || !row || !box.contains(row)) return null;
  return { row: rows(box).indexOf(row), control: controls(row).indexOf(focused as HTMLElement) };
}

function rows(box: HTMLElement): HTMLElement[] {
  return [...box.querySelectorAll<HTMLElement>('tbody tr')];
}

function controls(row: HTMLElement): HTMLElement[] {
  return [...row.querySelectorAll<HTMLElement>('a, button, input')];
}
