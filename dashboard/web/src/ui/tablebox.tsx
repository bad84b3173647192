// Room for a table: where it does not fit, its rows become small cards instead of hiding columns at the right.

import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

import { useKeptFocus } from './kept';

/** The name of a column of buttons: it is heard, not seen. */
export const ACTIONS = 'Actions';

interface Props {
  label: string;
  class?: string;
  /** The columns' names. */
  heads: string[];
  /** The first column that stands at the right, as all after it do. */
  right?: number;
  /** Rows. */
  children: ComponentChildren;
}

/**
 * One table, with roles by name, for stacked cells are no table to the browser; a cell's `data-label` is its column's
 * name.
 */
export function TableBox({ label, class: more = '', heads, right = heads.length, children }: Props) {
  const box = useRef<HTMLDivElement>(null);
  /** How wide the table wants to be, once it did not fit. */
  const wanted = useRef(0);
  const [stacked, setStacked] = useState(false);
  useKeptFocus(box);
  const measure = () => {
    const element = box.current;
    const table = element?.firstElementChild;
    if (!element || !table) return;
    const style = getComputedStyle(element);
    const room = element.clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight);
    if (stacked) {
      if (room >= wanted.current) setStacked(false);
    } else if (table.scrollWidth > room + 1) {
      wanted.current = table.scrollWidth;
      setStacked(true);
    }
  };
  // Rows that came may be wider than those before.
  useLayoutEffect(measure);
  useLayoutEffect(() => {
    if (!box.current) return;
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [stacked]);
  return (
    <div ref={box} class={`scrollx ${more} ${stacked ? 'stacked' : ''}`} tabIndex={0} role="region" aria-label={label}>
      <table class="list" role="table">
        <thead role="rowgroup">
          <tr role="row">
            {heads.map((head, column) => (
              <th key={head} scope="col" role="columnheader" class={column >= right ? 'right' : ''}>
                {head === ACTIONS ? <span class="hidden">{head}</span> : head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">{children}</tbody>
      </table>
    </div>
  );
}
