// The whole fleet at a glance, and what wants a person.

import { exactTime, hashrate, plural } from '../logic/format';
import { change, colours, HASHRATE, rangeOf, RANGES } from '../logic/history';
import { causes, filterOf, type Cause } from '../logic/causes';
import { sums, type Rig } from '../logic/rig';
import { pingOne } from '../store/commands';
import { open } from '../store/dialogs';
import { activity, counts, LAST_ACTIVITIES, known, pending, readOnly, rigs, stale } from '../store/live';
import { useHistory } from '../store/history';
import { href } from '../store/route';
import { ActivityTable } from '../ui/activity';
import { Bar } from '../ui/bar';
import { Head } from '../ui/frame';
import { HistoryCard } from '../ui/history';
import { Act, Skeleton, Word } from '../ui/parts';
import { Spark } from '../ui/spark';

/** A list longer than this is the Rigs page with a filter. */
const MAX_CAUSES = 8;
/** As many are named of those with the same trouble. */
const MAX_NAMED = 3;

export function Overview() {
  return (
    <>
      <Head title="Overview">
        <Act class="primary" why={readOnly.value} onClick={() => open({ kind: 'add' })}>
          Add peer
        </Act>
      </Head>
      <div class={stale.value ? 'fill page dim' : 'fill page'}>
        {!known.value ? (
          <Skeleton />
        ) : rigs.value.length === 0 ? (
          <div class="empty card">
            <h2>No rig yet</h2>
            <p>Pair this node with a rig to see it here. This page fills by itself.</p>
            <a class="button" href={href('rigs')}>
              Add your first rig
            </a>
          </div>
        ) : (
          <>
            <Sums />
            <section class="card" aria-labelledby="rigs-title">
              <div class="row">
                <h2 id="rigs-title">Rigs</h2>
                <a href={href('rigs')}>All {counts.value.all}</a>
              </div>
              <Bar counts={counts.value} />
            </section>
            <div class="columns">
              <Attention />
              <section class="card" aria-labelledby="recent">
                <div class="row">
                  <h2 id="recent">Recent activity</h2>
                  <a href={href('activity')}>All</a>
                </div>
                {activity.value.length === 0 ? <p class="t2">Nothing was changed yet.</p> : <ActivityTable entries={activity.value.slice(0, LAST_ACTIVITIES)} brief />}
              </section>
            </div>
            <HistoryCard title="Hashrate of all rigs" path="/history" measure={HASHRATE} ranges={RANGES} empty="Collecting. The first points come within two minutes of mining." />
          </>
        )}
      </div>
    </>
  );
}

const QUARTER_SECONDS = 900;

function Sums() {
  const all = sums(rigs.value);
  const { history } = useHistory('/history', rangeOf('24h'), HASHRATE, QUARTER_SECONDS);
  const given = colours(history?.series.map(({ id }) => id) ?? []);
  if (all.length === 0) {
    return (
      <section class="card">
        <p class="t2">No rig is hashing now.</p>
      </section>
    );
  }
  return (
    <section class="sums" aria-label="Hashrate by algorithm">
      {all.map(({ algorithm, rate, rigs: count }) => (
        <a class="card" key={algorithm} href={href('rigs', undefined, new URLSearchParams({ f: `algo:${algorithm}`, sort: 'hash', down: '1' }))}>
          <span class="t2">{algorithm}</span>
          <b class="figure">{hashrate(rate)}</b>
          <Day values={history?.series.find(({ id }) => id === algorithm)?.v ?? []} colour={given.get(algorithm) ?? 0} rigs={count} />
        </a>
      ))}
    </section>
  );
}

/** How the last 24 hours went, and where the last quarter stands against them. */
function Day({ values, colour, rigs: count }: { values: (number | null)[]; colour: number; rigs: number }) {
  const by = change(values);
  return (
    <>
      <Spark values={values} colour={colour} />
      <span class="t2 small">
        {plural(count, 'rig')}
        {by !== null && `, ${by < 0 ? '−' : '+'}${Math.abs(100 * by).toFixed(1)} % vs 24 h mean`}
      </span>
    </>
  );
}

function Attention() {
  const list = causes(rigs.value);
  const hit = list.reduce((sum, cause) => sum + cause.rigs.length, 0);
  const requests = pending.value.length;
  return (
    <section class="card" aria-labelledby="attention">
      <div class="row">
        <h2 id="attention">Needs attention</h2>
        {hit > 0 && <a href={href('rigs', undefined, new URLSearchParams({ sort: 'state' }))}>All {hit}</a>}
      </div>
      {list.length === 0 && requests === 0 && <p class="t2">Nothing. All rigs are as they should be.</p>}
      <ul class="attention">
        {requests > 0 && (
          <li>
            <Word state="wait" word={plural(requests, 'pairing request')} />
            <span class="t2 sub">Somebody wants to join and waits for you.</span>
            <a class="button" href={href('pairing')}>
              Review
            </a>
          </li>
        )}
        {list.slice(0, MAX_CAUSES).map((cause) => {
          const [only, ...others] = cause.rigs;
          if (!only) return null;
          return others.length === 0 ? <One key={only.id} rig={only} /> : <Many key={filterOf(cause)} cause={cause} />;
        })}
      </ul>
      {list.length > MAX_CAUSES && <p class="t2">{plural(list.length - MAX_CAUSES, 'more kind')} of trouble: look at all {hit}.</p>}
    </section>
  );
}

function One({ rig }: { rig: Rig }) {
  return (
    <li>
      <a href={href('rig', rig.id)}>{rig.name}</a>
      <Word state={rig.shown} word={rig.word} />
      <span class="t2 sub">{[rig.why, rig.shown === 'off' ? `last seen ${rig.seen === null ? 'never' : exactTime(rig.seen)}` : null].filter(Boolean).join(', ')}</span>
      <Fix rig={rig} />
    </li>
  );
}

function Many({ cause }: { cause: Cause }) {
  const { rigs: all, shown, word, why, same } = cause;
  const named = all.slice(0, MAX_NAMED).map(({ name }) => name).join(', ');
  const query = new URLSearchParams({ f: filterOf(cause), ...(shown === 'off' ? { sort: 'seen', down: '1' } : {}) });
  return (
    <li>
      <b>{plural(all.length, 'rig')}</b>
      <Word state={shown} word={word} />
      <span class="t2 sub">
        {why !== null && <>{same ? why : `${why}, and the like`}. </>}
        {named}
        {all.length > MAX_NAMED && ` and ${all.length - MAX_NAMED} more`}
      </span>
      <a class="button" href={href('rigs', undefined, query)} aria-label={`Show ${plural(all.length, 'rig')}: ${word}${why === null ? '' : `, ${why}`}`}>
        Show
      </a>
    </li>
  );
}

function Fix({ rig }: { rig: Rig }) {
  if (rig.shown === 'off') {
    return (
      <button type="button" aria-label={`Ping ${rig.name}`} onClick={() => void pingOne(rig)}>
        Ping
      </button>
    );
  }
  if (rig.shown === 'crit') {
    return (
      <Act why={readOnly.value} aria-label={`Start ${rig.name} again`} onClick={() => open({ kind: 'start', rigs: [rig] })}>
        Start…
      </Act>
    );
  }
  return (
    <a class="button" href={href('rig', rig.id)} aria-label={`Look at ${rig.name}`}>
      Look
    </a>
  );
}
