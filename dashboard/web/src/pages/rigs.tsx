// Rigs, the Nodes page: this node, the fleet in one bar, and the table.

import { plural, shortAddress } from '../logic/format';
import { mayRun } from '../logic/rig';
import { open } from '../store/dialogs';
import { begin } from '../store/jobs';
import { counts, known, link, node, readOnly, rigs, stale } from '../store/live';
import { phone } from '../store/prefs';
import { route, setQuery } from '../store/route';
import { applyOrder, chosen, clearFilter, clearSelection, filter, filterText, selected, show, sort, view, type Show } from '../store/table';
import { Bar } from '../ui/bar';
import { Head } from '../ui/frame';
import { Act, Copy, Skeleton } from '../ui/parts';
import { Peek } from '../ui/peek';
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
              {chosen.value.length > 0 ? <Bulk /> : <Filters />}
              {!known.value ? <Skeleton rows={12} /> : view.value.rows.length === 0 ? <NoMatch /> : <Table narrow={peek !== null && !phone.value} />}
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
          placeholder="Filter: name, address, state:offline, ping>200"
          title="Words match name and address. Also state: role: algo: address: id: and temp ping score hash watt miners with > < =, a minus before it for “not”."
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
        {phone.value && (
          <select aria-label="Sort by" value={sort.value.column} onChange={(event) => setQuery({ sort: event.currentTarget.value, down: event.currentTarget.value === 'hash' || event.currentTarget.value === 'ping' ? '1' : null })}>
            <option value="name">By name</option>
            <option value="state">By state</option>
            <option value="hash">By hashrate</option>
            <option value="ping">By ping</option>
            <option value="score">By score</option>
            <option value="seen">By last seen</option>
          </select>
        )}
        <StaleOrder />
      </div>
      {error && (
        <p class="error" id="filter-error">
          {error}
        </p>
      )}
    </>
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

function Bulk() {
  const all = chosen.value;
  const online = all.filter((rig) => rig.on === 1);
  const running = online.filter(mayRun);
  const peers = all.filter((rig) => rig.here === 0);
  const away = all.length - online.length;
  const why = readOnly.value ?? (online.length === 0 ? 'All of them are offline' : null);
  const of = (count: number) => (count === all.length ? `${count}` : `${count} of ${all.length}`);
  const note = away > 0 ? `${plural(away, 'rig')} offline` : undefined;
  const hidden = all.length - view.value.rows.filter((rig) => selected.value.has(rig.id)).length;
  return (
    <div class="filters bulk" role="group" aria-label="Selected rigs">
      <b>{all.length} selected</b>
      {hidden > 0 && <span class="t2">{hidden} hidden by the filter</span>}
      <Act why={why} title={note} onClick={() => open({ kind: 'start', rigs: online })}>
        Start {of(online.length)}…
      </Act>
      <Act why={why ?? (running.length === 0 ? 'None of them is running' : null)} title={note} onClick={() => open({ kind: 'stop', rigs: running })}>
        Stop {of(running.length)}
      </Act>
      <Act why={why} title={note} onClick={() => open({ kind: 'deploy', rigs: online })}>
        Deploy profile…
      </Act>
      <Act why={online.length === 0 ? 'All of them are offline' : null} onClick={() => void begin({ verb: 'ping', rigs: peers.map(({ id }) => id) })}>
        Ping
      </Act>
      <Act class="danger-text" why={readOnly.value ?? (peers.length === 0 ? 'This is the node itself' : null)} onClick={() => open({ kind: 'remove', rigs: peers })}>
        Remove…
      </Act>
      <button type="button" class="plain" onClick={clearSelection}>
        Clear
      </button>
      {away > 0 && <span class="t2">{note}</span>}
      <StaleOrder />
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
