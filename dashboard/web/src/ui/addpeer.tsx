// Adding a peer. The dialog stays until the node has answered.

import { useEffect, useRef, useState } from 'preact/hooks';

import { ask, failure, type Failure } from '../api/client';
import type { AddPeer, Added, Permission } from '../api/types';
import { href } from '../store/route';
import { done } from '../store/toast';
import { Dialog, Foot } from './dialog';
import { Choice, Field, GRANTS, Trouble } from './parts';
import { fieldErrors } from '../logic/pointer';

/** How often the other side is asked whether its operator has decided. */
const ASK_AGAIN_MS = 3000;
const FIELDS = ['address', 'name', 'code', 'permission'];

export function AddPeerDialog({ onClose }: { onClose: () => void }) {
  const [address, setAddress] = useState('');
  const [name, setName] = useState('');
  const [code, setCode] = useState('');
  const [permission, setPermission] = useState<'' | Permission>('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Failure | null>(null);
  const [words, setWords] = useState<string | null>(null);
  const alive = useRef(true);
  const timer = useRef(0);
  /** Of the node that answered first: the words are its. */
  const peerId = useRef<string | null>(null);
  useEffect(
    () => () => {
      alive.current = false;
      clearTimeout(timer.current);
    },
    [],
  );
  const errors = fieldErrors(problem, FIELDS);
  const missing = problem?.code === 'address-missing' ? problem.detail : undefined;

  const send = async () => {
    if (address.trim() === '') {
      setProblem({ code: 'address-missing', detail: 'Give the address of the peer', fields: [] } as unknown as Failure);
      return;
    }
    const body: AddPeer = { address: address.trim() };
    if (name.trim() !== '') body.name = name.trim();
    if (code.trim() !== '') body.code = code.trim();
    if (permission !== '') body.permission = permission;
    if (peerId.current !== null) body.peer_id = peerId.current;
    setBusy(true);
    setProblem(null);
    try {
      const added = await ask<Added>('POST', '/peers', body);
      if (added.state === 'paired') {
        done(`${added.peer.name} is paired`);
        if (alive.current) onClose();
        return;
      }
      if (!alive.current) return;
      setWords(added.words);
      peerId.current = added.peer_id;
      timer.current = window.setTimeout(() => void send(), ASK_AGAIN_MS);
    } catch (thrown) {
      if (!alive.current) return;
      setWords(null);
      peerId.current = null;
      setBusy(false);
      setProblem(failure(thrown));
    }
  };

  return (
    <Dialog
      title="Add peer"
      onClose={onClose}
      onSubmit={() => {
        if (!busy) void send();
      }}
      foot={<Foot out={words === null ? 'Cancel' : 'Stop waiting'} verb={words !== null ? 'Waiting…' : busy ? 'Pairing…' : 'Add'} disabled={busy} onClose={onClose} />}
    >
      {words !== null ? (
        <div role="status">
          <p>The node at {address} was asked. Its operator must approve this request; compare the words on both sides:</p>
          <p class="words">{words}</p>
          <p class="t2">
            There: <code>miner-ctrl peer pending</code>, then <code>miner-ctrl peer approve</code>, or its own Pairing page.
          </p>
        </div>
      ) : (
        <>
          {problem && !missing && Object.keys(errors).length === 0 && <Trouble failure={problem} />}
          <Field label="Address" value={address} onValue={setAddress} error={missing ?? errors.address} hint="192.168.1.20, rig.lan:9091, or a multiaddr" mono focus disabled={busy} />
          <Field label="Name" value={name} onValue={setName} error={errors.name} required={false} hint="Left out, the name it gives itself" disabled={busy} />
          <Field label="Pairing code" value={code} onValue={setCode} error={errors.code} required={false} placeholder="7KQ2-M9XD" mono hint="Shown on the rig. Without it, the rig’s operator approves." disabled={busy} />
          <Choice label="It may ask of this node" value={permission} options={GRANTS} onValue={setPermission} error={errors.permission} />
          <p class="t2">
            A peer that calls this node itself appears under <a href={href('pairing')} onClick={onClose}>Pairing</a>.
          </p>
        </>
      )}
    </Dialog>
  );
}
