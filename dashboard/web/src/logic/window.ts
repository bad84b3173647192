// Which rows of a long table exist in the document.

/** Rows kept above and below what is seen, so that a flick of the wheel meets rows and not a gap. */
export const OVERSCAN = 8;

export interface Window { first: number; last: number; above: number; below: number }

/** Rows `first..last` (last excluded), and the heights of the spacers in their place. */
export function visible(total: number, rowHeight: number, scrollTop: number, height: number): Window {
  const top = Math.floor(Math.max(0, scrollTop) / rowHeight);
  const first = Math.max(0, Math.min(top, total) - OVERSCAN);
  const last = Math.min(total, top + Math.ceil(height / rowHeight) + OVERSCAN + 1);
  return { first: Math.min(first, last), last, above: Math.min(first, last) * rowHeight, below: (total - last) * rowHeight };
}

/** Where to scroll so that a row is wholly in sight below a sticky head; the same place when it is already. */
export function reveal(index: number, rowHeight: number, scrollTop: number, height: number, head: number): number {
  const top = index * rowHeight;
  if (top < scrollTop) return top;
  const bottom = top + rowHeight;
  return bottom > scrollTop + height - head ? bottom - height + head : scrollTop;
}
