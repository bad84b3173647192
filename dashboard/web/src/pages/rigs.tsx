// Rigs, the Nodes page: this node, the fleet in one bar, and the table.

import { nodeNow } from '../api/clock';
import { csv } from '../logic/csv';
import { hashrate, plural, shortAddress, watts } from '../logic/format';
import { mayRun, power, sums } from '../logic/rig';
import { allToggled } from '../logic/select';
import { firstWay, type Column } from '../logic/sort';
import { removing } from '../store/commands';
import { open } from '../store/dialogs';
import { begin } from '../store/jobs';
import { counts, known, link, node, readOnly, rigs, stale } from '../store/live';
import { phone } from '../store/prefs';
import { route, setQuery } from '../store/route';
import { done, told } from '../store/toast';
import { applyOrder, chosen, clearFilter, clearSelection, filter, filterText, selected, show, sort, view, type Show } from '../store/table';
import { Bar } from '../ui/bar';
import { Head } from '../ui/frame';
import { Act, Copy, Skeleton } from '../ui/parts';
import { Peek } from '../ui/peek';
import { copied, save } from '../ui/save';
import { Table } from '../ui/table';

export function Rigs() {
  const peek = route.value.query.get('peek');
  return (
    <>
      <Head title="Rigs">
        <Act class="primary" why={readOnly.value} onClick={() => open({ kind: 'add' })}>
          Add peer
        </Act>
      </Head>
      <div class={stale.value ? 'fill split dim' : 'fill split'}>
        <div class="fill">
          <ThisNode />
          {known.value && rigs.value.length === 0 ? (
            <Empty />
          ) : (
            <>
              <Bar counts={counts.value} />
              <Removing />
              {chosen.value.length > 0 ? <Bulk /> : <Filters />}
              {!known.value ? <Skeleton rows={12} /> : view.value.rows.length === 0 ? <NoMatch /> : <Table narrow={peek !== null && !phone.value} />}
              {known.value && !phone.value && view.value.rows.length > 0 && <Totals />}
            </>
          )}
        </div>
        {peek !== null && !phone.value && <Peek key={peek} id={peek} onClose={() => setQuery({ peek: null })} />}
      </div>
    </>
  );
}

function ThisNode() {
  const me = node.value;
  if (!me) return <section class="strip" aria-label="This node" />;
  // The rows' own counts are live; the node's were so when the page asked.
  const [peers, online] = known.value ? [counts.value.all, counts.value.online] : [me.peers, me.peers_online];
  return (
    <section class="strip" aria-label="This node">
      <b>{me.name}</b>
      <span class="tag">{me.role}</span>
      <Copy text={me.id} label="node id" />
      <span class="mono t2 wide-only" title={me.addresses.join('\n')}>
        {shortAddress(me.addresses[0]?.replace(/\/p2p\/.*$/, '') ?? null)}
      </span>
      <span class="t2">
        {plural(peers, 'peer')}, {online} online
      </span>
    </section>
  );
}

const CHIPS: [Show, string][] = [['all', 'All'], ['online', 'Online'], ['attention', 'Attention'], ['offline', 'Offline']];

function Filters() {
  const numbers: Record<Show, number> = { all: counts.value.all, online: counts.value.online, attention: counts.value.attention, offline: counts.value.off };
  const { error } = filter.value;
  return (
    <>
      <div class="filters">
        <input
          id="filter"
          type="search"
          class="search"
          aria-label="Filter rigs"
          aria-describedby={error ? 'filter-error' : undefined}
          aria-invalid={error ? 'true' : undefined}
          placeholder="Filter: name, address, state:offline, temp>80"
          title="Words match name and address. Also state: why: role: algo: address: id: and temp rej ping score hash watt miners with > < =, a minus before it for “not”, quotes around what has spaces."
          autocomplete="off"
          spellcheck={false}
          value={filterText.value}
          onInput={(event) => setQuery({ f: event.currentTarget.value })}
          onKeyDown={(event) => {
            if (event.key === 'Escape') setQuery({ f: null });
          }}
        />
        <div class="chips" role="group" aria-label="Show">
          {CHIPS.map(([key, label]) => (
            <button key={key} type="button" class="chip" aria-pressed={show.value === key} onClick={() => setQuery({ show: key === 'all' ? null : key })}>
              {label} <span class="t2">{numbers[key]}</span>
            </button>
          ))}
        </div>
        <select aria-label="Sort by" value={sort.value.column} onChange={(event) => sortAnew(event.currentTarget.value as Column)}>
          {ORDERS.map(([column, label]) => (
            <option key={column} value={column}>
              {label}
            </option>
          ))}
        </select>
        {phone.value && <StaleOrder />}
      </div>
      {error && (
        <p class="error" id="filter-error">
          {error}
        </p>
      )}
    </>
  );
}

/** Some of these are columns that a window has no room for until they are asked for. */
const ORDERS: [Column, string][] = [
  ['name', 'By name'], ['state', 'Worst first'], ['hash', 'By hashrate'], ['temp', 'By temperature'], ['rej', 'By rejected'], ['watt', 'By power'],
  ['algo', 'By algorithm'], ['seen', 'Longest gone'], ['ping', 'By ping'], ['score', 'By score'], ['address', 'By address'], ['role', 'By role'],
];

function sortAnew(column: Column): void {
  setQuery({ sort: column === 'name' ? null : column, down: firstWay(column).down ? '1' : null });
}

/** More algorithms than this are on Overview. */
const MAX_SUMS = 4;

/** What the rigs that are chosen, else those that are shown, do together; and the list of them to take along. */
function Totals() {
  const some = chosen.value.length > 0;
  const of = some ? chosen.value : view.value.rows;
  const all = sums(of);
  const watt = power(of);
  const what = [
    some ? `${of.length} chosen` : of.length === counts.value.all ? plural(of.length, 'rig') : `${of.length} of ${plural(counts.value.all, 'rig')}`,
    ...all.slice(0, MAX_SUMS).map(({ algorithm, rate }) => `${algorithm} ${hashrate(rate)}`),
    ...(all.length > MAX_SUMS ? [`${all.length - MAX_SUMS} more`] : []),
    ...(watt === null ? [] : [`${watts(watt)} measured`]),
  ];
  const copy = async () => {
    if (await copied(of.map(({ name }) => `${name}\n`).join(''))) done(`${plural(of.length, 'name')} copied`);
    else told('This browser does not let the page copy.', 'Take the CSV: its first column are the names.');
  };
  return (
    <div class="totals" role="group" aria-label="Totals">
      <p class="t2">{what.join(' · ')}</p>
      <StaleOrder />
      <button type="button" class="plain" title={`Names of ${plural(of.length, 'rig')}, one a line`} onClick={() => void copy()}>
        Copy names
      </button>
      <button type="button" class="plain" title={`A table of ${plural(of.length, 'rig')}`} onClick={() => save('rigs.csv', 'text/csv', csv(of, nodeNow()))}>
        CSV
      </button>
    </div>
  );
}

function StaleOrder() {
  if (!view.value.stale) return null;
  return (
    <button type="button" class="chip accent stale" onClick={applyOrder}>
      order updated · apply
    </button>
  );
}

/** As many as the node takes in one order. */
const MAX_ORDERED = 10_000;

function Bulk() {
  const all = chosen.value;
  const online = all.filter((rig) => rig.on === 1);
  const running = online.filter(mayRun);
  const peers = all.filter((rig) => rig.here === 0);
  const away = all.length - online.length;
  const most = all.length > MAX_ORDERED ? `An order reaches ${MAX_ORDERED} rigs at most` : null;
  const why = readOnly.value ?? (online.length === 0 ? 'All of them are offline' : most);
  const of = (count: number) => (count === all.length ? `${count}` : `${count} of ${all.length}`);
  const note = away > 0 ? `${plural(away, 'rig')} offline` : undefined;
  const hidden = all.length - view.value.rows.filter((rig) => selected.value.has(rig.id)).length;
  return (
    <div class="filters bulk" role="group" aria-label="Selected rigs">
      <b>{all.length} selected</b>
      {hidden > 0 && <span class="t2">{hidden} hidden by the filter</span>}
      {phone.value && <All />}
      <Act why={why} title={note} onClick={() => open({ kind: 'start', rigs: online })}>
        Start {of(online.length)}…
      </Act>
      <Act why={why ?? (running.length === 0 ? 'None of them is running' : null)} title={note} onClick={() => open({ kind: 'stop', rigs: running })}>
        Stop {of(running.length)}
      </Act>
      <Act why={why ?? (running.length === 0 ? 'None of them is running' : null)} title={note} onClick={() => open({ kind: 'restart', rigs: running })}>
        Restart {of(running.length)}
      </Act>
      <Act why={why} title={note} onClick={() => open({ kind: 'deploy', rigs: online })}>
        Deploy profile…
      </Act>
      <Act why={online.length === 0 ? 'All of them are offline' : most} onClick={() => void begin({ verb: 'ping', rigs: peers.map(({ id }) => id) })}>
        Ping
      </Act>
      <Act class="danger-text" why={readOnly.value ?? (peers.length === 0 ? 'This is the node itself' : null)} onClick={() => open({ kind: 'remove', rigs: peers })}>
        Remove…
      </Act>
      <button type="button" class="plain" onClick={clearSelection}>
        Clear
      </button>
      {away > 0 && <span class="t2">{note}</span>}
      {phone.value && <StaleOrder />}
    </div>
  );
}

/** On a phone the table has no head to tick. */
function All() {
  const { rows } = view.value;
  const all = rows.map(({ id }) => id);
  if (all.every((id) => selected.value.has(id))) return null;
  return (
    <button type="button" class="plain" onClick={() => (selected.value = allToggled(selected.value, all))}>
      Select all {all.length}
    </button>
  );
}

/** Removing many takes a while, and ends with this page. */
function Removing() {
  const under = removing.value;
  if (under === null) return null;
  return (
    <div class="removing">
      <p>
        Removing {plural(under.all, 'rig')}, {under.done} done
      </p>
      <progress max={under.all} value={under.done} aria-label="Rigs removed" />
    </div>
  );
}

function NoMatch() {
  const what = filterText.value ? `“${filterText.value}”` : `“${show.value}”`;
  return (
    <div class="empty">
      <p>No rig matches {what}.</p>
      <button type="button" onClick={clearFilter}>
        Clear filter
      </button>
    </div>
  );
}

function Empty() {
  return (
    <div class="empty card">
      <h2>Add your first rig</h2>
      <p>
        On the rig, run <code>miner-ctrl node serve</code>. It listens on port 9091. Then add it here by its address; a code that the rig shows pairs at once, without one
        its operator approves.
      </p>
      <Act class="primary" why={readOnly.value ?? (link.value.kind === 'live' ? null : 'Waiting for the node')} onClick={() => open({ kind: 'add' })}>
        Add peer
      </Act>
    </div>
  );
}
