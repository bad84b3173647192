// The dialogs that pages share: what to do with one rig or many.

import { useEffect, useState } from 'preact/hooks';

import { plural } from '../logic/format';
import type { Rig } from '../logic/rig';
import { failure } from '../api/client';
import { outcomeText, remove, removeAll, restart, start, stop, type Start } from '../store/commands';
import { closeDialog, dialog } from '../store/dialogs';
import { begin } from '../store/jobs';
import { loadProfiles, NEW, profiles, profilesFailure } from '../store/profiles';
import { go, href, route } from '../store/route';
import { unselect } from '../store/table';
import { done, failed, notDone } from '../store/toast';
import { AddPeerDialog } from './addpeer';
import { Confirm, Dialog, Foot } from './dialog';
import { EditPeerDialog } from './editpeer';
import { JobDialog } from './job';
import { Keys, Palette } from './palette';
import { Choice, Field, Skeleton, Trouble } from './parts';
import { StoredDialog, useStored } from './stored';

export function Dialogs() {
  const open = dialog.value;
  return (
    <>
      {open?.kind === 'add' && <AddPeerDialog onClose={closeDialog} />}
      {open?.kind === 'edit' && <EditPeerDialog peer={open.peer} onChanged={open.onChanged} onClose={closeDialog} />}
      {open?.kind === 'start' && <StartDialog rigs={open.rigs} />}
      {open?.kind === 'deploy' && <DeployDialog rigs={open.rigs} profile={open.profile ?? null} />}
      {open?.kind === 'stored' && <StoredDialog rig={open.rig} onClose={closeDialog} />}
      {open?.kind === 'stop' && <StopDialog rigs={open.rigs} />}
      {open?.kind === 'restart' && <RestartDialog rigs={open.rigs} />}
      {open?.kind === 'remove' && <RemoveDialog rigs={open.rigs} />}
      {open?.kind === 'keys' && <Keys />}
      {open?.kind === 'palette' && <Palette />}
      <JobDialog />
    </>
  );
}

/** More rigs than this are not stopped, restarted or removed by a slip of the hand. */
const MANY = 10;

function names(rigs: Rig[]): string {
  const shown = rigs.slice(0, 5).map((rig) => rig.name).join(', ');
  return rigs.length > 5 ? `${shown} and ${rigs.length - 5} more` : shown;
}

function ids(rigs: Rig[]): string[] {
  return rigs.map(({ id }) => id);
}

function StartDialog({ rigs }: { rigs: Rig[] }) {
  const [from, setFrom] = useState<'here' | 'rig'>('here');
  const [name, setName] = useState('');
  const [error, setError] = useState<string>();
  useProfiles();
  const known = profiles.value ?? [];
  const stored = useStored(from === 'rig' && rigs.length === 1 ? rigs[0] : undefined);
  const offered: Offered[] = from === 'here' ? known : Array.isArray(stored) ? stored : [];
  // Typed for several rigs, or for one that does not tell.
  const typed = from === 'rig' && (rigs.length > 1 || (stored !== undefined && !Array.isArray(stored)));
  const chosen = typed ? name : (offered.find((one) => one.name === name) ?? offered[0])?.name ?? '';
  const send = () => {
    if (chosen === '') {
      if (typed) setError('Give the name of a profile on the rig');
      return;
    }
    closeDialog();
    void startMining(rigs, { profile: chosen, from });
  };
  return (
    <Dialog
      title={rigs.length === 1 ? `Start mining on ${rigs[0]?.name}` : `Start mining on ${rigs.length} rigs`}
      onClose={closeDialog}
      onSubmit={send}
      foot={<Foot verb={rigs.length === 1 ? 'Start' : `Start ${rigs.length}`} onClose={closeDialog} />}
    >
      {rigs.length > 1 && <p class="t2">{names(rigs)}</p>}
      <Choice
        label="Whose profile"
        value={from}
        options={[['here', 'A profile of this node, sent along'], ['rig', 'A profile that the rig holds']] as const}
        onValue={(value) => {
          setFrom(value);
          setName('');
          setError(undefined);
        }}
      />
      {typed ? (
        <Field label="Name on the rig" value={name} onValue={setName} error={error} mono focus />
      ) : offered.length > 0 ? (
        <Choice label="Profile" value={chosen} options={offered.map(profileOption)} onValue={setName} error={error} />
      ) : from === 'rig' && stored === undefined ? (
        <Skeleton rows={1} />
      ) : from === 'rig' ? (
        <p class="t2">It has stored none: send one along, or deploy one first.</p>
      ) : (
        <NoProfile />
      )}
    </Dialog>
  );
}

interface Offered { name: string; algorithm?: string | null; coin?: string; program: string }

function profileOption({ name, algorithm, coin, program }: Offered): readonly [string, string] {
  return [name, `${name} · ${algorithm ?? coin ?? 'by the pool'} · ${program}`];
}

function NoProfile() {
  if (profiles.value === null) return profilesFailure.value ? <Trouble failure={profilesFailure.value} /> : <Skeleton rows={1} />;
  return (
    <p class="t2">
      There is no profile on this node yet.{' '}
      <a href={href('profiles', NEW)} onClick={closeDialog}>
        Write one
      </a>
      : it says what to mine, where and with which program.
    </p>
  );
}

function useProfiles(): void {
  // Others write some, too, since they were asked for.
  useEffect(() => void loadProfiles(), []);
}

async function startMining(rigs: Rig[], body: Start): Promise<void> {
  const [only] = rigs;
  if (rigs.length > 1 || !only) return begin({ verb: 'start', rigs: ids(rigs), ...body });
  try {
    done(`${only.name}: ${outcomeText(await start(only, body))}`);
  } catch (thrown) {
    notDone(`Start ${only.name}`, failure(thrown));
  }
}

/** One is stopped at once: starting again what ran is the way back. `ran` are the miners that it stops. */
export async function stopOne(rig: Rig, miner: string | null, ran: string[]): Promise<void> {
  try {
    const text = outcomeText(await stop(rig, miner));
    done(`${rig.name}: ${text}`, ran.length > 0 ? { label: 'Start again', run: () => void startAgain(rig, ran) } : null);
  } catch (thrown) {
    notDone(`Stop ${rig.name}`, failure(thrown));
  }
}

/** Starts miners as they were: the rig knows what they ran, whoever's profile it was. */
export async function startAgain(rig: Rig, miners: string[]): Promise<void> {
  for (const miner of miners) {
    try {
      done(`${rig.name}: ${outcomeText(await restart(rig, miner))}`);
    } catch (thrown) {
      notDone(`Start ${miner} on ${rig.name}`, failure(thrown));
    }
  }
}

function StopDialog({ rigs }: { rigs: Rig[] }) {
  const many = rigs.length > MANY;
  const run = () => void begin({ verb: 'stop', rigs: ids(rigs), all: true });
  return (
    <Confirm title={`Stop ${plural(rigs.length, 'rig')}?`} verb={`Stop ${rigs.length}`} typed={many ? String(rigs.length) : undefined} onYes={run} onClose={closeDialog}>
      <p>All miners on {names(rigs)} stop until they are started again.</p>
    </Confirm>
  );
}

function RestartDialog({ rigs }: { rigs: Rig[] }) {
  const run = () => void begin({ verb: 'restart', rigs: ids(rigs) });
  return (
    <Confirm title={`Restart ${plural(rigs.length, 'rig')}?`} verb={`Restart ${rigs.length}`} typed={rigs.length > MANY ? String(rigs.length) : undefined} onYes={run} onClose={closeDialog}>
      <p>The miner of each stops and starts anew with its profile: {names(rigs)}. A rig with several miners refuses; restart those on its own page.</p>
    </Confirm>
  );
}

function DeployDialog({ rigs, profile }: { rigs: Rig[]; profile: string | null }) {
  const [name, setName] = useState(profile ?? '');
  useProfiles();
  const known = profiles.value ?? [];
  const chosen = known.find((one) => one.name === name) ?? known[0];
  const send = () => {
    if (!chosen) return;
    closeDialog();
    void begin({ verb: 'deploy', rigs: ids(rigs), profile: chosen.name });
  };
  return (
    <Dialog
      title={`Deploy a profile to ${plural(rigs.length, 'rig')}`}
      onClose={closeDialog}
      onSubmit={send}
      foot={<Foot verb={`Deploy to ${rigs.length}`} disabled={!chosen} onClose={closeDialog} />}
    >
      <p class="t2">{names(rigs)}</p>
      {chosen ? (
        <>
          <Choice label="Profile" value={chosen.name} options={known.map((one) => [one.name, one.name] as const)} onValue={setName} />
          <dl>
            <dt>Program</dt>
            <dd>{chosen.program}</dd>
            <dt>Algorithm</dt>
            <dd>{chosen.algorithm ?? chosen.coin ?? 'left to the pool'}</dd>
            <dt>Pools</dt>
            <dd class="mono wrap">{chosen.pools.map((pool) => pool.url).join('\n')}</dd>
            <dt>Wallet</dt>
            <dd class="mono wrap">{chosen.wallet}</dd>
          </dl>
          <p class="t2">Each rig stores it, in place of one of the same name. What is running goes on until it is started anew.</p>
        </>
      ) : (
        <NoProfile />
      )}
    </Dialog>
  );
}

function RemoveDialog({ rigs }: { rigs: Rig[] }) {
  const [only] = rigs;
  const one = rigs.length === 1 && only;
  const run = () => {
    if (!one) {
      void removeAll(rigs).then(unselect);
      return;
    }
    remove(one).then(
      () => {
        done(`${one.name} is removed`);
        if (route.value.page === 'rig' && route.value.arg === one.id) go(href('rigs'));
      },
      (thrown: unknown) => failed(`${one.name} is not removed`, failure(thrown)),
    );
  };
  return (
    <Confirm
      title={one ? `Remove ${one.name}?` : `Remove ${rigs.length} rigs?`}
      verb={one ? 'Remove' : `Remove ${rigs.length}`}
      typed={rigs.length > MANY ? String(rigs.length) : undefined}
      onYes={run}
      onClose={closeDialog}
    >
      <p>
        {one ? <b>{one.name}</b> : names(rigs)} will be forgotten: this node can no longer see or command {one ? 'it' : 'them'} until paired again. What {one ? 'it mines' : 'they mine'}{' '}
        goes on.
      </p>
    </Confirm>
  );
}
