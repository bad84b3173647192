// What a rig has stored, and taking it back.

import { useEffect, useRef, useState } from 'preact/hooks';

import { failure, type Failure } from '../api/client';
import type { RigProfile } from '../api/types';
import type { Rig } from '../logic/rig';
import { storedProfiles, undeploy } from '../store/commands';
import { done, notDone } from '../store/toast';
import { Dialog } from './dialog';
import { Skeleton, Trouble } from './parts';

/** What a rig has stored; undefined while it is asked, or there is none to ask. */
export function useStored(rig: Rig | undefined): RigProfile[] | Failure | undefined {
  const [told, tell] = useState<RigProfile[] | Failure>();
  useEffect(() => {
    let over = false;
    tell(undefined);
    if (!rig) return;
    storedProfiles(rig).then(
      (stored) => over || tell(stored),
      (thrown: unknown) => over || tell(failure(thrown)),
    );
    return () => {
      over = true;
    };
  }, [rig?.id]);
  return told;
}

export function StoredDialog({ rig, onClose }: { rig: Rig; onClose: () => void }) {
  const told = useStored(rig);
  const [gone, setGone] = useState<ReadonlySet<string>>(new Set());
  const [sure, setSure] = useState<string | null>(null);
  const [busy, setBusy] = useState<string | null>(null);
  /** The last removal that was not done: its toast lies below the dialog. */
  const [refused, setRefused] = useState<Failure | null>(null);
  const close = useRef<HTMLButtonElement>(null);
  const stored = Array.isArray(told) ? told.filter(({ name }) => !gone.has(name)) : null;
  const remove = (name: string) => {
    if (busy !== null) return;
    if (sure !== name) {
      setSure(name);
      return;
    }
    setBusy(name);
    setRefused(null);
    undeploy(rig, name)
      .then(
        ({ changed }) => {
          done(`${rig.name}: profile ${name} ${changed ? 'is removed' : 'was there no more'}`);
          setGone((before) => new Set(before).add(name));
          // Its button goes with its row.
          close.current?.focus();
        },
        (thrown: unknown) => {
          const why = failure(thrown);
          setRefused(why);
          notDone(`Remove ${name} from ${rig.name}`, why);
        },
      )
      .finally(() => {
        setBusy(null);
        setSure(null);
      });
  };
  return (
    <Dialog
      title={`Profiles on ${rig.name}`}
      onClose={onClose}
      foot={
        <button type="button" ref={close} onClick={onClose}>
          Close
        </button>
      }
    >
      {told === undefined && <Skeleton rows={2} />}
      {told !== undefined && stored === null && <Trouble failure={told as Failure} />}
      {refused && <Trouble failure={refused} />}
      {stored?.length === 0 && <p class="t2">It has stored none.</p>}
      {stored && stored.length > 0 && (
        <>
          <ul class="minerlist">
            {stored.map(({ name, program, algorithm, pools }) => (
              <li key={name}>
                <b class="wrap">{name}</b>
                <button type="button" class="right danger" aria-disabled={busy !== null} aria-label={sure === name ? `Remove ${name} for good` : `Remove ${name}`} onClick={() => remove(name)}>
                  {busy === name ? 'Removing…' : sure === name ? 'For good?' : 'Remove'}
                </button>
                <span class="t2 sub">{[program, algorithm ?? 'by the pool', pools.join(', ')].join(' · ')}</span>
              </li>
            ))}
          </ul>
          <p class="t2">A profile that is removed is gone from the rig, with its wallet and passwords. What runs of it runs on.</p>
        </>
      )}
    </Dialog>
  );
}
