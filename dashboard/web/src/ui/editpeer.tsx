// What we call a peer, and what it may ask of us.

import { useState } from 'preact/hooks';

import { ask, failure, part, type Failure } from '../api/client';
import type { PeerChange, PeerView, Permission } from '../api/types';
import { fieldErrors } from '../logic/pointer';
import { done } from '../store/toast';
import { Dialog, Foot } from './dialog';
import { Choice, Field, PERMISSIONS, Trouble } from './parts';

export function EditPeerDialog({ peer, onChanged, onClose }: { peer: PeerView; onChanged: () => void; onClose: () => void }) {
  const [name, setName] = useState(peer.name);
  const [permission, setPermission] = useState<Permission>(peer.permission);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Failure | null>(null);
  const errors = fieldErrors(problem, ['name', 'permission']);
  // A name that is taken is refused as a whole; it is still this field that must change.
  const taken = problem?.code === 'conflict' ? problem.detail : undefined;

  const send = async () => {
    const change: PeerChange = {};
    if (name.trim() !== peer.name) change.name = name.trim();
    if (permission !== peer.permission) change.permission = permission;
    if (Object.keys(change).length === 0) {
      onClose();
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      const changed = await ask<PeerView>('PATCH', `/peers/${part(peer.id)}`, change);
      done(changed.name === peer.name ? `${peer.name} is changed` : `${peer.name} is ${changed.name} now`);
      onChanged();
      onClose();
    } catch (thrown) {
      setProblem(failure(thrown));
      setBusy(false);
    }
  };

  return (
    <Dialog
      title={`Change ${peer.name}`}
      onClose={onClose}
      onSubmit={() => {
        if (!busy) void send();
      }}
      foot={<Foot verb={busy ? 'Saving…' : 'Save'} disabled={busy} onClose={onClose} />}
    >
      {problem && !taken && Object.keys(errors).length === 0 && <Trouble failure={problem} />}
      <Field label="Name" value={name} onValue={setName} error={taken ?? errors.name} hint="What this node calls it, whatever it calls itself" focus />
      <Choice
        label="It may ask of this node"
        value={permission}
        options={PERMISSIONS}
        onValue={setPermission}
        error={errors.permission}
        hint="This is about what it may do here. What this node may do there is decided there."
      />
    </Dialog>
  );
}
