// What to mine, where, and with which program.

import { useEffect, useState } from 'preact/hooks';

import { failure } from '../api/client';
import { begin } from '../store/jobs';
import { drafts, keepDraft } from '../store/drafts';
import { readOnly, rigs, stale } from '../store/live';
import { loadProfiles, NEW, profiles, profilesFailure, removeProfile } from '../store/profiles';
import { href } from '../store/route';
import { done, failed } from '../store/toast';
import { parse } from '../logic/filter';
import { byName } from '../logic/sort';
import { toggled } from '../logic/select';
import { plural } from '../logic/format';
import { Confirm, Dialog, Foot } from '../ui/dialog';
import { Head } from '../ui/frame';
import { Act, Field, Skeleton, Trouble, Word } from '../ui/parts';
import { ACTIONS, TableBox } from '../ui/tablebox';
import { Editor } from './editor';

export function Profiles({ name }: { name: string | null }) {
  const [removing, setRemoving] = useState<string | null>(null);
  const [deploying, setDeploying] = useState<string | null>(null);
  useEffect(() => void loadProfiles(), []);
  const all = profiles.value;
  useEffect(() => {
    // What was written of a profile that is gone can no longer be saved.
    for (const written of drafts.value.keys()) if (all && written !== NEW && !all.some((profile) => profile.name === written)) keepDraft(written, null);
  }, [all]);
  if (name !== null) {
    const found = all?.find((profile) => profile.name === name);
    if (name === NEW || found) return <Editor key={name} profile={found ?? null} />;
    if (all) {
      return (
        <>
          <Head title="Profiles" back={href('profiles')} />
          <div class="empty">
            <p>There is no profile “{name}” on this node.</p>
            <a class="button" href={href('profiles')}>
              All profiles
            </a>
          </div>
        </>
      );
    }
  }
  const remove = (gone: string) => {
    removeProfile(gone).then(
      () => done(`Profile ${gone} is deleted`),
      (thrown: unknown) => failed(`Profile ${gone} is not deleted`, failure(thrown)),
    );
  };
  return (
    <>
      <Head title="Profiles">
        {readOnly.value === null ? (
          <a class="button primary" href={href('profiles', NEW)}>
            New profile
          </a>
        ) : (
          <Act why={readOnly.value}>New profile</Act>
        )}
      </Head>
      <div class={stale.value ? 'fill page dim' : 'fill page'}>
        {profilesFailure.value && <Trouble failure={profilesFailure.value} />}
        {all === null && !profilesFailure.value && <Skeleton />}
        {all?.length === 0 && (
          <div class="empty card">
            <h2>No profile yet</h2>
            <p>A profile says what to mine, where and with which program. Write one, then deploy it to rigs or start a rig with it.</p>
          </div>
        )}
        {all && all.length > 0 && (
          <TableBox label="All profiles" class="card" heads={['Name', 'Program', 'Algorithm', 'Pools', 'Wallet', ACTIONS]}>
            {all.map((profile) => (
              <tr key={profile.name} role="row">
                <th scope="row" role="rowheader">
                  <a href={href('profiles', profile.name)}>{profile.name}</a>
                </th>
                <td role="cell" data-label="Program">{profile.program}</td>
                <td role="cell" data-label="Algorithm">{profile.algorithm ?? profile.coin ?? 'left to the pool'}</td>
                <td role="cell" class="mono" data-label="Pools">
                  {profile.pools[0]?.url}
                  {profile.pools.length > 1 && ` +${profile.pools.length - 1}`}
                </td>
                <td role="cell" class="mono clip" data-label="Wallet" title={profile.wallet}>
                  {profile.wallet}
                </td>
                <td role="cell" class="right actions">
                  <a class="button plain" href={href('profiles', profile.name)} aria-label={`Edit ${profile.name}`}>
                    Edit
                  </a>
                  <Act class="plain" why={readOnly.value} aria-label={`Deploy ${profile.name}`} onClick={() => setDeploying(profile.name)}>
                    Deploy…
                  </Act>
                  <Act class="plain remove" why={readOnly.value} aria-label={`Delete ${profile.name}`} onClick={() => setRemoving(profile.name)}>
                    Delete
                  </Act>
                </td>
              </tr>
            ))}
          </TableBox>
        )}
      </div>
      {removing !== null && (
        <Confirm title={`Delete ${removing}?`} verb="Delete" onYes={() => remove(removing)} onClose={() => setRemoving(null)}>
          <p>It is deleted on this node. Rigs that hold it keep it, and what runs goes on.</p>
        </Confirm>
      )}
      {deploying !== null && <DeployTo profile={deploying} onClose={() => setDeploying(null)} />}
    </>
  );
}

/** Boxes drawn; with more rigs than that a filter is the way. */
const MAX_BOXES = 200;

/** Which rigs shall have it: by filter, less those unticked. */
function DeployTo({ profile, onClose }: { profile: string; onClose: () => void }) {
  const [text, setText] = useState('');
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const { test, error } = parse(text);
  const matching = rigs.value.filter((rig) => rig.role !== 'controller' && test(rig)).sort((a, b) => byName(a.name, b.name));
  const online = matching.filter((rig) => rig.on === 1);
  const targets = online.filter((rig) => !left.has(rig.id));
  const send = () => {
    if (targets.length === 0) return;
    onClose();
    void begin({ verb: 'deploy', rigs: targets.map(({ id }) => id), profile });
  };
  return (
    <Dialog
      title={`Deploy ${profile}`}
      wide
      onClose={onClose}
      onSubmit={send}
      foot={<Foot verb={`Deploy to ${targets.length}`} disabled={targets.length === 0} onClose={onClose} />}
    >
      <Field label="Which rigs" value={text} onValue={setText} error={error ?? undefined} placeholder="all, or e.g. barn algo:rx/0" focus />
      <p class="t2" role="status">
        {plural(targets.length, 'rig')} chosen{matching.length > online.length && `, ${matching.length - online.length} offline left out`}.
      </p>
      <div class="boxes" role="group" aria-label="Rigs">
        {online.slice(0, MAX_BOXES).map((rig) => (
          <label key={rig.id} class="tickline">
            <input type="checkbox" checked={!left.has(rig.id)} onChange={() => setLeft(toggled(left, rig.id))} /> {rig.name} <Word state={rig.shown} word={rig.word} />
          </label>
        ))}
      </div>
      {online.length > MAX_BOXES && <p class="t2">{online.length - MAX_BOXES} more match and are chosen, too.</p>}
      <p class="t2">Each rig stores it, in place of one of the same name. What is running goes on until it is started anew.</p>
    </Dialog>
  );
}
