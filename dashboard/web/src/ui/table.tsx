// The table of rigs: a real table of which only the rows in sight exist.

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { useComputed } from '@preact/signals';

import { allToggled, extended, toggled } from '../logic/select';
import type { Column } from '../logic/sort';
import { reveal, visible } from '../logic/window';
import { pingOne } from '../store/commands';
import { phone, prefs, rowHeight } from '../store/prefs';
import { go, href, route, setQuery } from '../store/route';
import { active, anchor, cameBackTo, clearSelection, focused, leaveAt, listed, pointed, selected, sort, sortBy, view, wanted } from '../store/table';
import { PhoneRow, Row } from './row';

const COLUMNS: { column: Column; label: string; width: number; right?: boolean }[] = [
  { column: 'name', label: 'Peer', width: 140 },
  { column: 'state', label: 'State', width: 200 },
  { column: 'address', label: 'Address', width: 172 },
  { column: 'role', label: 'Role', width: 92 },
  { column: 'ping', label: 'Ping', width: 76, right: true },
  { column: 'score', label: 'Score', width: 108, right: true },
  { column: 'hash', label: 'Hashrate', width: 104, right: true },
  { column: 'algo', label: 'Algorithm', width: 104 },
  { column: 'temp', label: 'Hottest', width: 84, right: true },
  { column: 'rej', label: 'Rejected', width: 92, right: true },
  { column: 'watt', label: 'Power', width: 84, right: true },
  { column: 'seen', label: 'Last seen', width: 100, right: true },
];
/** What a table has room for first. What changes least, and what the side panel or the rig's page tells, comes last. */
const PREFERRED: readonly Column[] = ['name', 'hash', 'ping', 'score', 'seen', 'address', 'role', 'temp', 'rej', 'state', 'algo', 'watt'];
/** With fewer than these in sight the actions of a row fold into a menu. */
const USUAL = 7;
const TICK_WIDTH = 40;
const ACTIONS_WIDTH = 188;
const MENU_WIDTH = 56;
const PAGE = 100;
/** A pointer that slips off the rows for a moment has not left; nor has one on its way to "apply". */
const LEAVING_MS = 1500;

/**
 * The columns that a table of this width has room for, and whether their actions fold into a menu. What is wanted comes
 * before all others, room or not.
 */
export function fitting(width: number, narrow: boolean, wanted: ReadonlySet<Column>): { columns: typeof COLUMNS; compact: boolean; least: number } {
  const wide = (column: Column) => COLUMNS.find((known) => known.column === column)?.width ?? 0;
  const room = (columns: Iterable<Column>, actions: number) => [...columns].reduce((sum, column) => sum + wide(column), TICK_WIDTH + actions);
  const compact = narrow || room(PREFERRED.slice(0, USUAL), ACTIONS_WIDTH) > width;
  const actions = compact ? MENU_WIDTH : ACTIONS_WIDTH;
  const taken = new Set<Column>(['name', 'hash', ...wanted]);
  for (const column of PREFERRED) {
    if (narrow && (column === 'address' || column === 'role')) continue;
    // The first that has no room ends it: what is less important shall not jump in.
    if (room(new Set([...taken, column]), actions) > width) break;
    taken.add(column);
  }
  return { columns: COLUMNS.filter(({ column }) => taken.has(column)), compact, least: room(taken, actions) };
}

/** `narrow`: the side panel takes room, so what it shows anyway is left out of the rows. */
export function Table({ narrow }: { narrow: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const body = useRef<HTMLTableSectionElement>(null);
  const wantsFocus = useRef(false);
  const leaving = useRef(0);
  // When the table goes, the address bar is another page's.
  const shownList = useRef(listed.value);
  shownList.current = route.value.page === 'rigs' ? listed.value : shownList.current;
  const [scroll, setScroll] = useState(0);
  const [{ width, height }, setSize] = useState({ width: innerWidth, height: 600 });
  const [page, setPage] = useState(0);
  const [printed, setPrinted] = useState(false);
  const { rows: all } = view.value;
  const high = rowHeight();
  const paged = prefs.value.pages && !printed;
  const pages = Math.max(1, Math.ceil(all.length / PAGE));
  const onPage = Math.min(page, pages - 1);
  const rows = paged ? all.slice(onPage * PAGE, (onPage + 1) * PAGE) : all;
  const offset = paged ? onPage * PAGE : 0;
  const head = phone.value ? 0 : 36;
  const seen = paged || printed ? { first: 0, last: rows.length, above: 0, below: 0 } : visible(rows.length, high, scroll, height);
  const slice = rows.slice(seen.first, seen.last);
  const tabStop = useComputed(() => active.value).value;
  const stopInSight = slice.some((rig) => rig.id === tabStop) ? tabStop : (slice[0]?.id ?? null);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const measure = () => setSize({ width: element.clientWidth, height: element.clientHeight });
    measure();
    element.scrollTop = cameBackTo(shownList.current);
    setScroll(element.scrollTop);
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => {
      observer.disconnect();
      // It goes out of the page a moment later.
      leaveAt(shownList.current, element.scrollTop);
      clearTimeout(leaving.current);
      pointed.value = false;
      focused.value = false;
    };
  }, []);

  useLayoutEffect(() => {
    // Paper does not scroll: all rows are in sight.
    const before = () => setPrinted(true);
    const after = () => setPrinted(false);
    addEventListener('beforeprint', before);
    addEventListener('afterprint', after);
    return () => {
      removeEventListener('beforeprint', before);
      removeEventListener('afterprint', after);
    };
  }, []);

  useLayoutEffect(() => {
    if (wantsFocus.current && active.value !== null) {
      const row = document.getElementById(`r-${active.value}`);
      if (row) {
        wantsFocus.current = false;
        row.focus({ preventScroll: true });
      }
    } else if (focused.value && document.activeElement === document.body) {
      // The row that had the focus was scrolled away; the keys shall still work.
      box.current?.focus({ preventScroll: true });
    }
  });

  const move = (to: number, extend: boolean) => {
    const index = Math.max(0, Math.min(rows.length - 1, to));
    const rig = rows[index];
    if (!rig) return;
    if (extend) selected.value = extended(selected.value, rows.map((row) => row.id), active.value, rig.id);
    active.value = rig.id;
    wantsFocus.current = true;
    const element = box.current;
    if (element && !paged) element.scrollTop = reveal(index, high, element.scrollTop, element.clientHeight, head);
    else document.getElementById(`r-${rig.id}`)?.scrollIntoView({ block: 'nearest' });
    if (element) setScroll(element.scrollTop);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as HTMLElement;
    const onRow = target.tagName === 'TR' || target === box.current;
    const at = rows.findIndex((rig) => rig.id === active.value);
    const rig = rows[at];
    const letters = prefs.value.keys;
    const screen = Math.max(1, Math.floor((height - head) / high) - 1);
    const steps: Record<string, number> = {
      ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1, PageDown: at + screen, PageUp: at - screen,
      ...(letters ? { j: at + 1, k: at - 1 } : {}),
    };
    const to = steps[event.key];
    if (to !== undefined) {
      event.preventDefault();
      move(to, event.shiftKey);
    } else if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') {
      if (stepInside(target, event.key === 'ArrowRight' ? 1 : -1)) event.preventDefault();
    } else if (event.key === 'Escape' && selected.value.size > 0) {
      clearSelection();
    } else if (event.key === 'Escape' && narrow) {
      setQuery({ peek: null });
    } else if (rig && ((event.key === ' ' && onRow) || (event.key === 'x' && letters))) {
      event.preventDefault();
      selected.value = toggled(selected.value, rig.id);
      anchor.value = rig.id;
    } else if (rig && event.key === 'Enter' && onRow) {
      go(href('rig', rig.id));
    } else if (rig && event.key === 'p' && letters && rig.here === 0) {
      void pingOne(rig);
    }
  };

  const ids = () => all.map((rig) => rig.id);
  const ticked = all.length > 0 && all.every((rig) => selected.value.has(rig.id));
  const some = !ticked && all.some((rig) => selected.value.has(rig.id));
  const { columns, compact, least } = fitting(width, narrow, wanted.value);
  const shown = new Set(columns.map(({ column }) => column));
  const cells = phone.value ? 1 : columns.length + 2;
  return (
    <>
      <div
        class="tablebox"
        ref={box}
        tabIndex={-1}
        onScroll={(event) => setScroll(event.currentTarget.scrollTop)}
        onKeyDown={onKeyDown}
      >
        <table class={phone.value ? 'rigs phone' : 'rigs'} aria-label="Rigs" aria-rowcount={all.length + 1} style={{ minWidth: phone.value ? '0' : `${least}px` }}>
          {!phone.value && (
            <colgroup>
              <col width={TICK_WIDTH} />
              {columns.map(({ column, width }) => (
                // What is left goes to what has most to say.
                <col key={column} width={column === (shown.has('state') ? 'state' : 'name') ? undefined : width} />
              ))}
              <col width={compact ? MENU_WIDTH : ACTIONS_WIDTH} />
            </colgroup>
          )}
          <thead>
            <tr aria-rowindex={1}>
              {phone.value ? (
                <th scope="col">
                  <span class="hidden">Rig</span>
                </th>
              ) : (
                <>
                  <td class="tick">
                    <input
                      type="checkbox"
                      aria-label={`Select all ${all.length}`}
                      title={`Select all ${all.length}`}
                      checked={ticked}
                      indeterminate={some}
                      onChange={() => (selected.value = allToggled(selected.value, ids()))}
                    />
                  </td>
                  {columns.map(({ column, label, right }) => (
                    <th key={column} scope="col" class={right ? 'right' : column === 'name' ? 'name' : ''} aria-sort={ariaSort(column)}>
                      <button type="button" onClick={() => sortBy(column)}>
                        {right && <Arrow column={column} />}
                        {label}
                        {!right && <Arrow column={column} />}
                      </button>
                    </th>
                  ))}
                  <th scope="col" class="right">
                    <span class={compact ? 'hidden' : ''}>Actions</span>
                  </th>
                </>
              )}
            </tr>
          </thead>
          <tbody
            ref={body}
            onPointerEnter={(event) => {
              clearTimeout(leaving.current);
              pointed.value = event.pointerType === 'mouse';
            }}
            onPointerLeave={() => {
              clearTimeout(leaving.current);
              leaving.current = window.setTimeout(() => (pointed.value = false), LEAVING_MS);
            }}
            onFocusIn={(event) => {
              focused.value = true;
              const row = (event.target as HTMLElement).closest('tr');
              if (row?.dataset.id) active.value = row.dataset.id;
            }}
            onFocusOut={(event) => {
              const next = event.relatedTarget;
              focused.value = next instanceof Node && (body.current?.contains(next) ?? false);
            }}
          >
            {seen.above > 0 && <Spacer height={seen.above} columns={cells} />}
            {slice.map((rig, at) => {
              const index = offset + seen.first + at;
              const common = { rig, index, height: high, tabStop: rig.id === stopInSight, ticked: selected.value.has(rig.id) };
              return phone.value ? (
                <PhoneRow key={rig.id} {...common} />
              ) : (
                <Row key={rig.id} {...common} compact={compact} shown={shown} onTick={(range) => tick(rig.id, range)} />
              );
            })}
            {seen.below > 0 && <Spacer height={seen.below} columns={cells} />}
          </tbody>
        </table>
      </div>
      {paged && pages > 1 && (
        <nav class="pager" aria-label="Pages of rigs">
          <button type="button" disabled={onPage === 0} onClick={() => setPage(onPage - 1)}>
            Previous
          </button>
          <span>
            Page {onPage + 1} of {pages}
          </span>
          <button type="button" disabled={onPage === pages - 1} onClick={() => setPage(onPage + 1)}>
            Next
          </button>
        </nav>
      )}
    </>
  );

  function tick(id: string, range: boolean): void {
    selected.value = range ? extended(selected.value, ids(), anchor.value, id) : toggled(selected.value, id);
    anchor.value = id;
    active.value = id;
  }
}

/** On the side where it does not push the head away from its numbers. */
function Arrow({ column }: { column: Column }) {
  if (sort.value.column !== column) return null;
  return (
    <span class="arrow" aria-hidden="true">
      {sort.value.down ? '↓' : '↑'}
    </span>
  );
}

/** As wide as the table and no wider: a cell too many would be a column too many. */
function Spacer({ height, columns }: { height: number; columns: number }) {
  return (
    <tr aria-hidden="true" class="spacer">
      <td colSpan={columns} style={{ height: `${height}px` }} />
    </tr>
  );
}

function ariaSort(column: Column): 'ascending' | 'descending' | 'none' {
  if (sort.value.column !== column) return 'none';
  return sort.value.down ? 'descending' : 'ascending';
}

/** Left and right walk through the controls of a row, which are no tab stops of their own. */
function stepInside(from: HTMLElement, step: number): boolean {
  const row = from.closest('tr');
  if (!row) return false;
  const stops = [row, ...row.querySelectorAll<HTMLElement>('a, button:not(:disabled), input')];
  const next = stops[stops.indexOf(from) + step];
  next?.focus();
  return next !== undefined;
}
