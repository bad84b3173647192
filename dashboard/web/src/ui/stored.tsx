// What a rig has stored, and taking it back.

import { useEffect, useState } from 'preact/hooks';

import { failure, type Failure } from '../api/client';
import type { RigProfile } from '../api/types';
import type { Rig } from '../logic/rig';
import { storedProfiles, undeploy } from '../store/commands';
import { done } from '../store/toast';
import { Dialog } from './dialog';
import { Skeleton, Trouble } from './parts';

export function StoredDialog({ rig, onClose }: { rig: Rig; onClose: () => void }) {
  const [stored, setStored] = useState<RigProfile[] | null>(null);
  const [trouble, setTrouble] = useState<Failure | null>(null);
  const [busy, setBusy] = useState<string | null>(null);
  const load = () => storedProfiles(rig).then(setStored);
  useEffect(() => {
    load().catch((thrown: unknown) => setTrouble(failure(thrown)));
  }, []);
  const remove = (name: string) => {
    setBusy(name);
    setTrouble(null);
    undeploy(rig, name)
      .then(() => done(`${rig.name}: profile ${name} is removed`))
      .then(load)
      .catch((thrown: unknown) => setTrouble(failure(thrown)))
      .finally(() => setBusy(null));
  };
  return (
    <Dialog
      title={`Profiles on ${rig.name}`}
      onClose={onClose}
      foot={
        <button type="button" onClick={onClose}>
          Close
        </button>
      }
    >
      {trouble && <Trouble failure={trouble} />}
      {!stored && !trouble && <Skeleton rows={2} />}
      {stored?.length === 0 && <p class="t2">It has stored none.</p>}
      {stored && stored.length > 0 && (
        <>
          <ul class="minerlist">
            {stored.map(({ name, program, algorithm, pools }) => (
              <li key={name}>
                <b class="wrap">{name}</b>
                <button type="button" class="right danger" disabled={busy !== null} aria-label={`Remove ${name}`} onClick={() => remove(name)}>
                  {busy === name ? 'Removing…' : 'Remove'}
                </button>
                <span class="t2 sub">{[program, algorithm ?? 'by the pool', pools.join(', ')].join(' · ')}</span>
              </li>
            ))}
          </ul>
          <p class="t2">What runs of a profile runs on when it is removed.</p>
        </>
      )}
    </Dialog>
  );
}
