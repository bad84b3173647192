// One rig in the table: a row of cells, or on a phone two lines.

import { useRef } from 'preact/hooks';

import { celsius, exactTime, hashrate, lastSeen, percent, ping, shortAddress, UNKNOWN, watts } from '../logic/format';
import { algorithms, rejected, type Rig, type State } from '../logic/rig';
import { toggled } from '../logic/select';
import type { Column } from '../logic/sort';
import { pingOne, under } from '../store/commands';
import { open } from '../store/dialogs';
import { turns } from '../store/jobs';
import { now, readOnly } from '../store/live';
import { go, href, setQuery } from '../store/route';
import { active, selected } from '../store/table';
import { Menu, Meter } from './parts';
import { Shape } from './shape';

interface Common { rig: Rig; index: number; height: number; tabStop: boolean; ticked: boolean }

/** The state to show: an own command under way comes before what the node last said. */
export function shownState(rig: Rig): { state: State; word: string; why: string | null } {
  const own = under.value.get(rig.id);
  if (own) return { state: 'wait', word: own.late ? 'No answer yet' : own.word, why: own.late ? `${rig.name} has not answered for 15 s. It may still do it.` : null };
  const turn = turns.value.get(rig.id);
  if (turn) return { state: 'wait', word: turn, why: null };
  return { state: rig.shown, word: rig.word, why: rig.why };
}

export function Row({ rig, index, height, tabStop, ticked, compact, shown, onTick }: Common & { compact: boolean; shown: ReadonlySet<Column>; onTick: (range: boolean) => void }) {
  const { state, word, why } = shownState(rig);
  const off = rig.on === 0;
  const here = rig.here === 1;
  const stats = () => setQuery({ peek: rig.id });
  return (
    <tr
      id={`r-${rig.id}`}
      data-id={rig.id}
      aria-rowindex={index + 2}
      tabIndex={tabStop ? 0 : -1}
      class={`${ticked ? 'on ' : ''}${off ? 'off' : ''}`}
      style={{ height: `${height}px` }}
    >
      <td class="tick">
        <input type="checkbox" tabIndex={-1} aria-label={`Select ${rig.name}`} checked={ticked} onClick={(event) => onTick(event.shiftKey)} />
      </td>
      <th scope="row" class="name" title={why ? `${word}: ${why}` : word}>
        <Shape state={state} />
        <span class="hidden">{word} </span>
        <a tabIndex={-1} href={href('rig', rig.id)}>
          {rig.name}
        </a>
        {here && <span class="tag">this node</span>}
        {!shown.has('state') && (state === 'warn' || state === 'crit' || state === 'wait') && <span class={`small word ${state}`}>{word}</span>}
      </th>
      {shown.has('state') && (
        <td title={why ?? undefined}>
          <span class={`word ${state}`}>{word}</span>
          {why !== null && <span class="t2 small"> {why}</span>}
        </td>
      )}
      {shown.has('address') && (
        <td class="mono" title={rig.address ?? 'It dials us; no address is known'}>
          {shortAddress(rig.address)}
        </td>
      )}
      {shown.has('role') && <td>{rig.role}</td>}
      {shown.has('ping') && <td class={`right ${pingLevel(rig)}`}>{ping(off ? null : rig.ping)}</td>}
      {shown.has('score') && <td class="right">{here ? UNKNOWN : <Meter value={rig.score} />}</td>}
      <td class="right" title={algorithms(rig)}>
        {hashrate(off ? null : rig.hash)}
        {!off && rig.also !== null && <span class="t2 small"> +{rig.also.length}</span>}
      </td>
      {shown.has('algo') && <td>{(off ? null : rig.algo) ?? UNKNOWN}</td>}
      {shown.has('temp') && <td class="right">{celsius(off ? null : rig.temp)}</td>}
      {shown.has('rej') && (
        <td class="right" title={off ? undefined : `${rig.rej ?? UNKNOWN} rejected, ${rig.acc ?? UNKNOWN} accepted`}>
          {percent(off ? null : rejected(rig))}
        </td>
      )}
      {shown.has('watt') && <td class="right">{watts(off ? null : rig.watt)}</td>}
      {shown.has('seen') && (
        <td class="right" title={exactTime(rig.seen)}>
          {/* Only a row that is offline has an age, and needs the clock. */}
          {off ? lastSeen(rig.seen, false, now.value) : 'now'}
        </td>
      )}
      <td class="right actions">
        {compact ? (
          <Menu
            label={`Actions for ${rig.name}`}
            tabIndex={-1}
            items={[
              { label: 'Ping', run: () => void pingOne(rig), disabled: here ? 'This is the node itself' : null },
              { label: 'Stats', run: stats },
              { label: 'Remove…', danger: true, run: () => open({ kind: 'remove', rigs: [rig] }), disabled: here ? 'This is the node itself' : readOnly.value },
            ]}
          />
        ) : (
          <>
            <button type="button" class="plain" tabIndex={-1} aria-label={`Ping ${rig.name}`} disabled={here} onClick={() => void pingOne(rig)}>
              Ping
            </button>
            <button type="button" class="plain" tabIndex={-1} aria-label={`Stats of ${rig.name}`} onClick={stats}>
              Stats
            </button>
            <button
              type="button"
              class="plain remove"
              tabIndex={-1}
              aria-label={`Remove ${rig.name}`}
              disabled={here || readOnly.value !== null}
              title={readOnly.value ?? undefined}
              onClick={() => open({ kind: 'remove', rigs: [rig] })}
            >
              Remove
            </button>
          </>
        )}
      </td>
    </tr>
  );
}

/** Longer than this is a wish to select, as everywhere on phones. */
const LONG_PRESS_MS = 500;

export function PhoneRow({ rig, index, height, tabStop, ticked }: Common) {
  const { state, word, why } = shownState(rig);
  const timer = useRef(0);
  const pressed = useRef(false);
  const off = rig.on === 0;
  const select = () => {
    selected.value = toggled(selected.value, rig.id);
    active.value = rig.id;
  };
  // Nothing hovers on a phone: what is wrong stands in place of what is not.
  const troubled = (state === 'warn' || state === 'crit') && why !== null;
  const facts = troubled ? [why] : [rig.here === 1 ? 'this node' : rig.role, celsius(off ? null : rig.temp), ping(off ? null : rig.ping)].filter((text) => text !== UNKNOWN);
  return (
    <tr
      id={`r-${rig.id}`}
      data-id={rig.id}
      aria-rowindex={index + 2}
      tabIndex={tabStop ? 0 : -1}
      class={`${ticked ? 'on ' : ''}${off ? 'off' : ''}`}
      style={{ height: `${height}px` }}
      onPointerDown={() => {
        pressed.current = false;
        timer.current = window.setTimeout(() => {
          pressed.current = true;
          select();
        }, LONG_PRESS_MS);
      }}
      onPointerUp={() => clearTimeout(timer.current)}
      onPointerCancel={() => clearTimeout(timer.current)}
      onPointerLeave={() => clearTimeout(timer.current)}
      onContextMenu={(event) => event.preventDefault()}
      onClick={(event) => {
        // The browser's own: another tab.
        if (event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        if (pressed.current) return;
        if (selected.value.size > 0) select();
        else go(href('rig', rig.id));
      }}
    >
      <td>
        <div class="two">
          {ticked ? <span class="check" role="img" aria-label="Selected">✓</span> : <Shape state={state} />}
          <a tabIndex={-1} href={href('rig', rig.id)}>
            {rig.name}
          </a>
          <b>{hashrate(off ? null : rig.hash)}</b>
          <span class="sub" title={why ?? undefined}>
            <span class={`word ${state}`}>{off ? `Offline ${rig.seen === null ? '' : lastSeen(rig.seen, false, now.value)}` : word}</span> · {facts.join(' · ')}
          </span>
        </div>
      </td>
    </tr>
  );
}

/** From here on a person feels it. */
const SLOW_MS = 50;
const BAD_MS = 200;

function pingLevel({ on, ping: ms }: Rig): string {
  if (on === 0 || ms === null || ms < SLOW_MS) return '';
  return ms < BAD_MS ? 'warn' : 'crit';
}
