// Strangers that wait for a person, and the code that lets one in without.

import { useEffect, useState } from 'preact/hooks';

import { ask, failure, part, type Failure } from '../api/client';
import { nodeNow } from '../api/clock';
import type { Pending, PendingView, Permission } from '../api/types';
import { span } from '../logic/format';
import { loadNode, node, now, pending, readOnly, stale } from '../store/live';
import { done, failed } from '../store/toast';
import { Head } from '../ui/frame';
import { Act, Choice, Copy, GRANTS, Trouble } from '../ui/parts';

/** How often it is looked whether the code still is one. */
const AGAIN_MS = 60_000;

export function Pairing() {
  useEffect(() => {
    // The stream tells of changes; this is for a page opened while it is away.
    ask<PendingView[]>('GET', '/peers/pending').then(
      (list) => {
        const at = nodeNow();
        pending.value = list.map(({ age_seconds, ...request }) => ({ ...request, since: at - age_seconds }));
      },
      () => undefined,
    );
    void loadNode();
  }, []);
  const way = node.value?.pairing;
  return (
    <>
      <Head title="Pairing" />
      <div class={stale.value ? 'fill page dim' : 'fill page'}>
        <section class="card" aria-labelledby="requests">
          <h2 id="requests" tabIndex={-1}>
            Requests
          </h2>
          {pending.value.length === 0 && (
            <p class="t2">
              Nobody waits. {way === 'off' ? 'Pairing is off on this node.' : 'A node that wants to join appears here, with words to compare with those it shows.'}
            </p>
          )}
          <ul class="requests">
            {pending.value.map((request) => (
              <Request key={request.id} request={request} />
            ))}
          </ul>
        </section>
        <Code />
        {node.value && (
          <section class="card" aria-labelledby="ours">
            <h2 id="ours">This node’s key</h2>
            <p class="t2 prose">
              The words of this node’s own key. They are not the ones to compare when nodes pair: each pair has words of its own, which stand with the request above and are
              printed where it was made.
            </p>
            <p class="words">{node.value.fingerprint}</p>
          </section>
        )}
      </div>
    </>
  );
}

function Request({ request }: { request: Pending }) {
  const [permission, setPermission] = useState<'' | Permission>('');
  const [busy, setBusy] = useState(false);
  const decide = async (verb: 'approve' | 'deny') => {
    setBusy(true);
    try {
      const body = verb === 'approve' && permission !== '' ? { permission } : undefined;
      await ask('POST', `/peers/pending/${part(request.id)}/${verb}`, body);
      pending.value = pending.value.filter((one) => one.id !== request.id);
      done(verb === 'approve' ? `${request.name} is admitted` : `${request.name} is turned away`);
      // The button goes with its request; a focus that is elsewhere by now stays there.
      if (document.activeElement?.matches('body, [aria-disabled="true"]')) document.getElementById('requests')?.focus();
    } catch (thrown) {
      failed(`${request.name} was not ${verb === 'approve' ? 'admitted' : 'turned away'}`, failure(thrown));
      setBusy(false);
    }
  };
  return (
    <li>
      <div>
        <h3>{request.name}</h3>
        <p class="t2">
          {request.role} at <span class="mono">{request.address}</span>, waiting for {span(now.value - request.since)}
        </p>
      </div>
      <p class="words">{request.words}</p>
      <p class="t2">Approve only if the other side shows these words.</p>
      <Choice label="It may ask of this node" value={permission} options={GRANTS} onValue={setPermission} />
      <p class="row">
        <Act class="primary" why={readOnly.value ?? (busy ? 'Under way' : null)} aria-label={`Approve ${request.name}`} onClick={() => void decide('approve')}>
          Approve
        </Act>
        <Act why={readOnly.value ?? (busy ? 'Under way' : null)} aria-label={`Deny ${request.name}`} onClick={() => void decide('deny')}>
          Deny
        </Act>
      </p>
    </li>
  );
}

function Code() {
  const [problem, setProblem] = useState<Failure | null>(null);
  // The node's word alone: a code that was used up is no code any more.
  const shown = node.value?.pairing_code ?? null;
  useEffect(() => {
    // The stream tells of a peer that came by it; of wrong tries and of its age nobody does.
    const timer = setInterval(() => void loadNode(), AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  const renew = async () => {
    setProblem(null);
    try {
      await ask('POST', '/node/pairing-code');
      await loadNode();
    } catch (thrown) {
      setProblem(failure(thrown));
    }
  };
  const addresses = node.value?.addresses ?? [];
  // A loopback address is of no use to another machine.
  const reached = addresses.find((one) => !/^\/ip[46]\/(127\.|::1\/)/.test(one));
  const address = reached ?? addresses[0];
  return (
    <section class="card" aria-labelledby="code">
      <h2 id="code">Pairing code</h2>
      <p class="t2 prose">A code lets one node pair with this one without a question. It works once, and three wrong tries burn it.</p>
      {problem && <Trouble failure={problem} />}
      {shown !== null && (
        <>
          <p class="words big">{shown}</p>
          {address !== undefined && (
            <>
              <p class="t2">{reached ? 'On the other node:' : 'Only this machine reaches this node; others do once it is started with --listen :9091. Here:'}</p>
              <p>
                <Copy text={`miner-ctrl peer add --address ${address} --code ${shown}`} label="command" />
              </p>
            </>
          )}
        </>
      )}
      <Act why={readOnly.value ?? (node.value?.pairing === 'off' ? 'Pairing is off on this node: its settings turn it on, from its next start on' : null)} onClick={() => void renew()}>
        {shown === null ? 'Show a code' : 'New code'}
      </Act>
    </section>
  );
}
