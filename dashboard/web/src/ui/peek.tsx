// The side panel of a rig: enough to judge it without leaving the list.

import { useLayoutEffect, useRef } from 'preact/hooks';

import { celsius, exactTime, hashrate, shortAddress, UNKNOWN } from '../logic/format';
import { algorithms, untold } from '../logic/rig';
import { open } from '../store/dialogs';
import { readOnly, rigById } from '../store/live';
import { useRig } from '../store/rig';
import { href } from '../store/route';
import { MinerList } from './miners';
import { Act, Skeleton, Trouble, Word } from './parts';
import { shownState } from './row';

export function Peek({ id, onClose }: { id: string; onClose: () => void }) {
  const row = rigById(id);
  const { view, failure } = useRig(id);
  const state = row ? shownState(row) : null;
  const title = useRef<HTMLHeadingElement>(null);
  // Rows make room for the panel, and the button that opened it is gone.
  useLayoutEffect(() => title.current?.focus(), []);
  const close = () => {
    onClose();
    (document.getElementById(`r-${id}`) ?? document.querySelector<HTMLElement>('.tablebox'))?.focus();
  };
  return (
    <aside class="peek" aria-label={`Stats of ${row?.name ?? id}`} onKeyDown={(event) => event.key === 'Escape' && close()}>
      <header>
        <h2 tabIndex={-1} ref={title}>
          <a href={href('rig', id)}>{row?.name ?? id}</a>
        </h2>
        <button type="button" class="plain close" aria-label="Close stats" onClick={close}>
          ✕
        </button>
      </header>
      {row && state && (
        <dl>
          <dt>State</dt>
          <dd>
            <Word state={state.state} word={state.word} />
            {state.why && <div class="t2">{state.why}</div>}
          </dd>
          <dt>Hashrate</dt>
          <dd>
            {hashrate(row.on === 1 ? row.hash : null)} {row.algo && <span class="t2">{algorithms(row)}</span>}
          </dd>
          <dt>Shares</dt>
          <dd>
            {row.acc ?? UNKNOWN} accepted, {row.rej ?? UNKNOWN} rejected
          </dd>
          <dt>Hottest</dt>
          <dd>{untold(row) ? UNKNOWN : row.temp === null ? 'not measured' : celsius(row.temp)}</dd>
          <dt>Power</dt>
          <dd>{untold(row) ? UNKNOWN : row.watt === null ? 'not measured' : `${row.watt} W`}</dd>
          <dt>Address</dt>
          <dd class="mono">{shortAddress(row.address)}</dd>
          <dt>Last seen</dt>
          <dd>{row.on === 1 ? 'now' : exactTime(row.seen)}</dd>
        </dl>
      )}
      {failure && !view && <Trouble failure={failure} />}
      {!failure && !view && <Skeleton rows={3} />}
      {view && <MinerList miners={view.stats?.miners ?? null} problem={view.problem} away={untold(row)} />}
      {row && (
        <p class="row">
          <Act class="primary" why={readOnly.value ?? (row.on === 0 ? 'It is offline' : null)} onClick={() => open({ kind: 'start', rigs: [row] })}>
            Start…
          </Act>
          <a class="button" href={href('rig', id)}>
            Open rig
          </a>
        </p>
      )}
    </aside>
  );
}
