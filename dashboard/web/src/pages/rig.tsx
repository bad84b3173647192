// One rig: its miners, its console, its machine, and what we know of it as a peer.

import { useState } from 'preact/hooks';

import { part } from '../api/client';
import type { MinerStatus, PeerView, RigView } from '../api/types';
import { bytes, celsius, duration, exactTime, hashrate, lastSeen, ping, plural, span, UNKNOWN } from '../logic/format';
import { HASHRATE, OTHERS, RANGES } from '../logic/history';
import { algorithms, mayRun, minerShown, runs, untold, type Rig } from '../logic/rig';
import { pingOne } from '../store/commands';
import { open } from '../store/dialogs';
import { known, now, readOnly, rigById, stale } from '../store/live';
import { useRig } from '../store/rig';
import { href } from '../store/route';
import { startAgain, stopOne } from '../ui/dialogs';
import { Head } from '../ui/frame';
import { HistoryCard } from '../ui/history';
import { Logs } from '../ui/logs';
import { Act, Copy, Menu, Meter, PERMISSIONS, Skeleton, Trouble, Word } from '../ui/parts';
import { shownState } from '../ui/row';
import { ACTIONS, TableBox } from '../ui/tablebox';

export function RigPage({ id }: { id: string }) {
  const row = rigById(id);
  const { view, failure: problem, refresh } = useRig(id);
  const [console, setConsole] = useState<string | null>(null);
  const name = row?.name ?? view?.peer.name ?? id;
  const miners = view?.stats?.miners ?? null;
  const shownConsole = miners?.find((miner) => miner.name === console)?.name ?? miners?.[0]?.name ?? null;
  /** It was removed, here or elsewhere: nothing of it is shown as if it were there. */
  const gone = known.value && !row;
  const why = readOnly.value ?? (row?.on === 0 ? `${name} is offline` : null);
  return (
    <>
      <Head title={name} back={href('rigs')}>
        {row && <Actions rig={row} why={why} miners={miners} peer={view?.peer ?? null} refresh={refresh} />}
      </Head>
      <div class={stale.value || row?.on === 0 ? 'fill page dim' : 'fill page'}>
        {gone && problem && <Trouble failure={problem} />}
        {row && <Summary rig={row} />}
        {row?.on === 0 && miners !== null && view?.peer.problem && <p class="t2">It cannot be reached: {view.peer.problem}</p>}
        {(!view || gone) && !problem && <Skeleton />}
        {!view && problem && row && <Trouble failure={problem} />}
        {view && !gone && (
          <>
            <section class="card" aria-labelledby="miners">
              <h2 id="miners">Miners</h2>
              {miners === null || miners.length === 0 ? (
                <p class="t2">{miners === null ? (view.problem ?? view.peer.problem ?? 'It has told no statistics yet.') : 'No miner yet. Start one with a profile.'}</p>
              ) : (
                <MinerTable miners={miners} rig={row} why={why} onConsole={setConsole} refresh={refresh} />
              )}
            </section>
            <HistoryCard title="Hashrate" path={`/history/${part(id)}`} measure={HASHRATE} ranges={RANGES} empty={collecting(miners)} also={OTHERS} />
            {shownConsole !== null && miners && (
              <section class="card" aria-labelledby="console">
                <div class="row">
                  <h2 id="console">Logs</h2>
                  {miners.length > 1 && (
                    <select aria-label="Whose console" value={shownConsole} onChange={(event) => setConsole(event.currentTarget.value)}>
                      {miners.map((miner) => (
                        <option key={miner.name} value={miner.name}>
                          {miner.name}
                        </option>
                      ))}
                    </select>
                  )}
                </div>
                <Logs rig={id} miner={shownConsole} />
              </section>
            )}
            <div class="columns">
              <Host view={view} />
              {row?.here !== 1 && <Peer view={view} refresh={refresh} />}
            </div>
          </>
        )}
      </div>
    </>
  );
}

/** Why the chart is empty. */
function collecting(miners: MinerStatus[] | null): string {
  return miners?.some((miner) => runs(miner.state)) ? 'Collecting. The first points come within two minutes.' : 'Nothing was measured in this time.';
}

interface ActionsProps { rig: Rig; why: string | null; miners: MinerStatus[] | null; peer: PeerView | null; refresh: () => void }

function Actions({ rig, why, miners, peer, refresh }: ActionsProps) {
  const running = mayRun(rig);
  const here = rig.here === 1 ? 'This is the node itself' : null;
  const ran = miners?.filter((miner) => runs(miner.state)).map(({ name }) => name) ?? [];
  return (
    <>
      <Act class={running ? '' : 'primary'} why={why} onClick={() => open({ kind: 'start', rigs: [rig] })}>
        Start…
      </Act>
      <Act why={why ?? (running ? null : 'Nothing is running')} onClick={() => void stopOne(rig, null, ran)}>
        Stop
      </Act>
      <Menu
        label={`More for ${rig.name}`}
        items={[
          { label: 'Ping', run: () => void pingOne(rig), disabled: here },
          { label: 'Deploy profile…', run: () => open({ kind: 'deploy', rigs: [rig] }), disabled: why },
          { label: 'Profiles on it…', run: () => open({ kind: 'stored', rig }), disabled: here ? 'They are on the page Profiles' : why },
          { label: 'Name, permission…', run: () => peer && open({ kind: 'edit', peer, onChanged: refresh }), disabled: here ?? readOnly.value ?? (peer ? null : 'It is not loaded yet') },
          { label: 'Remove…', danger: true, run: () => open({ kind: 'remove', rigs: [rig] }), disabled: here ?? readOnly.value },
        ]}
      />
    </>
  );
}

function Summary({ rig }: { rig: Rig }) {
  const state = shownState(rig);
  const off = rig.on === 0;
  return (
    <section class="facts" aria-label="Summary">
      <div>
        <span class="t2">State</span>
        <b>
          <Word state={state.state} word={state.word} />
        </b>
        <span class="t2 small">{off ? (rig.seen === null ? 'never seen' : `since ${exactTime(rig.seen)}`) : (state.why ?? `${rig.run ?? UNKNOWN} of ${rig.miners ?? UNKNOWN} miners running`)}</span>
      </div>
      <div>
        <span class="t2">Hashrate</span>
        <b class="figure">{hashrate(off ? null : rig.hash)}</b>
        <span class="t2 small">{algorithms(rig) ?? ''}</span>
      </div>
      <div>
        <span class="t2">Shares</span>
        <b class="figure">{rig.acc ?? UNKNOWN}</b>
        <span class="t2 small">{rig.rej === null ? '' : `${rig.rej} rejected`}</span>
      </div>
      <div>
        <span class="t2">Ping</span>
        <b class="figure">{ping(off ? null : rig.ping)}</b>
        <span class="t2 small">{seenText(rig, now.value)}</span>
      </div>
      <div>
        <span class="t2">Temperature</span>
        <b class="figure">{celsius(off ? null : rig.temp)}</b>
        <span class="t2 small">{off ? '' : rig.watt === null ? 'power not measured' : `${rig.watt} W`}</span>
      </div>
    </section>
  );
}

function seenText({ on, seen }: Rig, at: number): string {
  const text = lastSeen(seen, on === 1, at);
  return text === 'now' ? 'seen now' : text === 'Never' ? 'never seen' : `seen ${text} ago`;
}

/** What a hashrate is the mean of. */
const WINDOWS = ['10 s', '60 s', '15 min'] as const;

interface TableProps { miners: MinerStatus[]; rig: Rig | undefined; why: string | null; onConsole: (miner: string) => void; refresh: () => void }

function MinerTable({ miners, rig, why, onConsole, refresh }: TableProps) {
  const away = untold(rig);
  const again = (miner: string) => rig && void startAgain(rig, [miner]).then(refresh);
  return (
    <TableBox label="Miners of this rig" heads={['Miner', 'State', 'Algorithm, pool', ...WINDOWS, 'Shares', 'Uptime', 'Devices', ACTIONS]} right={3}>
      {miners.map((miner) => {
        const said = minerShown(miner.state);
        // What it said last is not what it does.
        const { shown, word } = away ?? said;
        const running = runs(miner.state) && rig?.on !== 0;
        return (
          <tr key={miner.name} role="row">
            <th scope="row" role="rowheader">
              {miner.name}
              <div class="small t2 plainly">{[miner.profile, `${miner.program} ${miner.version ?? ''}`].filter(Boolean).join(' · ')}</div>
            </th>
            <td role="cell" data-label="State">
              <Word state={shown} word={word} />
              <div class="small t2 wrap">
                {miner.problem ?? (away ? `was: ${said.word}` : `for ${span(miner.state_seconds)}`)}
                {miner.restarts > 0 && `, restarted ${plural(miner.restarts, 'time')}`}
              </div>
            </td>
            <td role="cell" data-label="Algorithm, pool">
              {miner.algorithm ?? UNKNOWN}
              <div class="small t2 mono">{miner.pool ?? 'no pool'}</div>
            </td>
            {miner.hashrates.map((rate, window) => (
              <td key={window} role="cell" class="right" data-label={WINDOWS[window]}>
                {hashrate(away ? null : rate)}
              </td>
            ))}
            <td role="cell" class="right" data-label="Shares">
              {miner.shares.accepted}
              <div class="small t2">{miner.shares.rejected} rejected</div>
            </td>
            <td role="cell" class="right" data-label="Uptime">{running && !away ? duration(miner.uptime_seconds) : UNKNOWN}</td>
            <td role="cell" class="right" data-label="Devices">{away ? UNKNOWN : devices(miner)}</td>
            <td role="cell" class="right actions">
              {miners.length > 1 && (
                <button type="button" class="plain" aria-label={`Logs of ${miner.name}`} onClick={() => onConsole(miner.name)}>
                  Logs
                </button>
              )}
              <Act class="plain" why={why} aria-label={`${running ? 'Restart' : 'Start'} ${miner.name}`} onClick={() => again(miner.name)}>
                {running ? 'Restart' : 'Start'}
              </Act>
              {running && (
                <Act class="plain" why={why} aria-label={`Stop ${miner.name}`} onClick={() => rig && void stopOne(rig, miner.name, [miner.name]).then(refresh)}>
                  Stop
                </Act>
              )}
            </td>
          </tr>
        );
      })}
    </TableBox>
  );
}

/** Temperature and power of its devices, or that nobody measures them. */
function devices({ devices: all }: MinerStatus): string {
  const temps = all.flatMap((device) => device.temperature_celsius ?? []);
  const watts = all.flatMap((device) => device.power_watt ?? []);
  const texts = [
    temps.length > 0 ? celsius(Math.max(...temps)) : null,
    // A sum of some of them is no power of the miner's.
    watts.length > 0 && watts.length === all.length ? `${Math.round(watts.reduce((sum, watt) => sum + watt, 0))} W` : null,
  ].filter(Boolean);
  return texts.length > 0 ? texts.join(', ') : 'not measured';
}

function Host({ view }: { view: RigView }) {
  const { stats } = view;
  if (!stats) return null;
  const { host } = stats;
  return (
    <section class="card" aria-labelledby="machine">
      <h2 id="machine">Machine</h2>
      <dl>
        <dt>Processor</dt>
        <dd>{host.cpu || UNKNOWN}{host.threads > 0 && `, ${host.threads} threads`}</dd>
        <dt>System</dt>
        <dd>{host.os || UNKNOWN}</dd>
        <dt>Load</dt>
        <dd>{host.load === null ? UNKNOWN : host.load.toFixed(2)}</dd>
        <dt>Memory</dt>
        <dd>{host.memory_total > 0 ? `${bytes(host.memory_available)} of ${bytes(host.memory_total)} free` : UNKNOWN}</dd>
        <dt>Up for</dt>
        <dd>{host.uptime_seconds > 0 ? duration(host.uptime_seconds) : UNKNOWN}</dd>
        <dt>miner-ctrl</dt>
        <dd>{stats.version}</dd>
      </dl>
    </section>
  );
}

function Peer({ view: { peer }, refresh }: { view: RigView; refresh: () => void }) {
  return (
    <section class="card" aria-labelledby="peer">
      <div class="row">
        <h2 id="peer">Peer</h2>
        <Act class="plain" why={readOnly.value} aria-label={`Change name and permission of ${peer.name}`} onClick={() => open({ kind: 'edit', peer, onChanged: refresh })}>
          Change…
        </Act>
      </div>
      <dl>
        <dt>Node id</dt>
        <dd>
          <Copy text={peer.id} label="node id" />
        </dd>
        <dt>Peer id</dt>
        <dd>
          <Copy text={peer.peer_id} label="peer id" />
        </dd>
        <dt>Role</dt>
        <dd>{peer.role}</dd>
        <dt>Addresses</dt>
        <dd class="mono wrap">{peer.addresses.length > 0 ? peer.addresses.join('\n') : 'none: it dials us'}</dd>
        <dt>It may ask of us</dt>
        <dd>{PERMISSIONS.find(([key]) => key === peer.permission)?.[1] ?? peer.permission}</dd>
        <dt>Score</dt>
        <dd>
          <Meter value={peer.score} />
        </dd>
        <dt>Paired</dt>
        <dd>{exactTime(peer.paired_at)}</dd>
        <dt>Program</dt>
        <dd>{peer.agent ?? UNKNOWN}</dd>
      </dl>
    </section>
  );
}
