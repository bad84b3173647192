// How the page looks, who may use it, and what this node is.

import { useEffect, useState } from 'preact/hooks';

import { ask, failure, part, type Failure } from '../api/client';
import type { Access, Scope, Token } from '../api/types';
import { agentText } from '../logic/agent';
import { exactTime, UNKNOWN } from '../logic/format';
import { fieldErrors } from '../logic/pointer';
import { link, node } from '../store/live';
import { prefer, prefs, type Density } from '../store/prefs';
import { session, signOut } from '../store/session';
import { done, failed } from '../store/toast';
import { Head, THEMES } from '../ui/frame';
import { Act, Choice, Copy, Field, Trouble } from '../ui/parts';
import { ACTIONS, TableBox } from '../ui/tablebox';

const DENSITIES: [Density, string][] = [['compact', 'Compact'], ['normal', 'Normal'], ['comfortable', 'Comfortable']];

export function Settings() {
  return (
    <>
      <Head title="Settings" />
      <div class="fill page">
        <section class="card" aria-labelledby="appearance">
          <h2 id="appearance">Appearance</h2>
          <div class="columns">
            <Choice label="Theme" value={prefs.value.theme} options={THEMES} onValue={(theme) => prefer({ theme })} />
            <Choice label="Rows" value={prefs.value.density} options={DENSITIES} onValue={(density) => prefer({ density })} />
          </div>
          <label class="tickline">
            <input type="checkbox" checked={prefs.value.pages} onChange={(event) => prefer({ pages: event.currentTarget.checked })} /> Rigs in pages of 100, for screen readers and Ctrl+F
          </label>
          <label class="tickline">
            <input type="checkbox" checked={prefs.value.keys} onChange={(event) => prefer({ keys: event.currentTarget.checked })} /> Single-key shortcuts
          </label>
          <p class="t2">Kept in this browser.</p>
        </section>
        <AccessCards />
        <About />
      </div>
    </>
  );
}

function AccessCards() {
  const [access, setAccess] = useState<Access | null>(null);
  const [problem, setProblem] = useState<Failure | null>(null);
  const load = () => {
    ask<Access>('GET', '/access').then(
      (found) => {
        setAccess(found);
        setProblem(null);
      },
      (thrown: unknown) => setProblem(failure(thrown)),
    );
  };
  useEffect(load, []);
  /** Whether it is gone. */
  const revoke = async (kind: 'sessions' | 'tokens', id: string, what: string) => {
    try {
      await ask('DELETE', `/access/${kind}/${part(id)}`);
    } catch (thrown) {
      failed(`${what} is not revoked`, failure(thrown));
      return false;
    }
    done(`${what} is revoked`);
    load();
    return true;
  };
  const out = () => signOut().catch((thrown: unknown) => failed('Not signed out', failure(thrown)));
  const why = link.value.kind === 'lost' ? 'The node cannot be reached' : null;
  return (
    <>
      <section class="card" aria-labelledby="access">
        <div class="row">
          <h2 id="access">Access</h2>
          {session.value?.by === 'session' && (
            <Act why={why} onClick={() => void out()}>
              Sign out
            </Act>
          )}
        </div>
        {problem && <Trouble failure={problem} />}
        {access && (
          <>
            <h3>Sessions</h3>
            <TableBox label="Sessions" heads={['Browser', 'Last used', 'Since', ACTIONS]}>
              {access.sessions.map((one) => (
                <tr key={one.id} role="row">
                  <th scope="row" role="rowheader" class="clip" title={one.agent}>
                    {one.current && <span class="tag">this one</span>} {agentText(one.agent) || UNKNOWN}
                  </th>
                  <td role="cell" data-label="Last used">{exactTime(one.last_used)}</td>
                  <td role="cell" data-label="Since">{exactTime(one.created_at)}</td>
                  <td role="cell" class="right actions">
                    {!one.current && (
                      <Act class="plain remove" why={why} aria-label={`Revoke the session of ${agentText(one.agent) || one.id}, last used ${exactTime(one.last_used)}`} onClick={() => void revoke('sessions', one.id, 'The session')}>
                        Revoke
                      </Act>
                    )}
                  </td>
                </tr>
              ))}
            </TableBox>
            <Tokens tokens={access.tokens} why={why} onChange={load} onRevoke={(token) => revoke('tokens', token.id, `Token ${token.name}`)} />
            <Password set={access.password_set} why={why} onChange={load} />
          </>
        )}
      </section>
    </>
  );
}

const SCOPES: [Scope, string][] = [['read', 'Read'], ['control', 'Read and control'], ['admin', 'Everything']];

function Tokens({ tokens, why, onChange, onRevoke }: { tokens: Token[]; why: string | null; onChange: () => void; onRevoke: (token: Token) => Promise<boolean> }) {
  const [name, setName] = useState('');
  const [scope, setScope] = useState<Scope>('read');
  const [made, setMade] = useState<Token | null>(null);
  const [problem, setProblem] = useState<Failure | null>(null);
  const make = async () => {
    setProblem(null);
    try {
      setMade(await ask<Token>('POST', '/access/tokens', { name: name.trim(), scope }));
      setName('');
      onChange();
    } catch (thrown) {
      setProblem(failure(thrown));
    }
  };
  const revoke = async (token: Token) => {
    if (await onRevoke(token)) setMade((had) => (had?.id === token.id ? null : had));
  };
  return (
    <>
      <h3>Tokens for scripts</h3>
      {tokens.length === 0 && <p class="t2">None.</p>}
      {tokens.length > 0 && (
        <TableBox label="Tokens" heads={['Name', 'Scope', 'Last used', ACTIONS]}>
          {tokens.map((token) => (
            <tr key={token.id} role="row">
              <th scope="row" role="rowheader">{token.name}</th>
              <td role="cell" data-label="Scope">{token.scope}</td>
              <td role="cell" data-label="Last used">{exactTime(token.last_used)}</td>
              <td role="cell" class="right actions">
                <Act class="plain remove" why={why} aria-label={`Revoke token ${token.name}`} onClick={() => void revoke(token)}>
                  Revoke
                </Act>
              </td>
            </tr>
          ))}
        </TableBox>
      )}
      {made?.token !== undefined && (
        <p role="status">
          This once: <Copy text={made.token} label="token" />
        </p>
      )}
      <form
        class="columns"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (why === null) void make();
        }}
      >
        <Field label="Token name" value={name} onValue={setName} error={problem ? problem.detail : undefined} placeholder="grafana" />
        <Choice label="It may" value={scope} options={SCOPES} onValue={setScope} />
        <p class="send">
          <Act type="submit" why={why}>
            Make token
          </Act>
        </p>
      </form>
    </>
  );
}

function Password({ set, why, onChange }: { set: boolean; why: string | null; onChange: () => void }) {
  const [current, setCurrent] = useState('');
  const [password, setPassword] = useState('');
  const [problem, setProblem] = useState<Failure | null>(null);
  const save = async () => {
    setProblem(null);
    try {
      await ask('PUT', '/access/password', set ? { password, current } : { password });
      setCurrent('');
      setPassword('');
      done('The password is set; all other sessions are ended');
      if (session.value) session.value = { ...session.value, password_set: true };
      onChange();
    } catch (thrown) {
      setProblem(failure(thrown));
    }
  };
  const errors = fieldErrors(problem, ['password', 'current']);
  const elsewhere = problem && Object.keys(errors).length === 0 ? problem.detail : undefined;
  return (
    <>
      <h3>{set ? 'Change the password' : 'Set a password'}</h3>
      <form
        class="columns"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (why === null) void save();
        }}
      >
        {set && <Field label="Current password" type="password" autocomplete="current-password" value={current} onValue={setCurrent} error={errors.current} />}
        <Field label="New password" type="password" autocomplete="new-password" value={password} onValue={setPassword} hint="At least 10 characters" error={errors.password ?? elsewhere} />
        <p class="send">
          <Act type="submit" why={why}>
            {set ? 'Change' : 'Set'}
          </Act>
        </p>
      </form>
    </>
  );
}

function About() {
  const me = node.value;
  if (!me) return null;
  return (
    <section class="card" aria-labelledby="about">
      <h2 id="about">This node</h2>
      <dl>
        <dt>Name</dt>
        <dd>
          {me.name} <span class="tag">{me.role}</span>
        </dd>
        <dt>Version</dt>
        <dd>miner-ctrl {me.version}</dd>
        <dt>Node id</dt>
        <dd>
          <Copy text={me.id} label="node id" />
        </dd>
        <dt>Peer id</dt>
        <dd>
          <Copy text={me.peer_id} label="peer id" />
        </dd>
        <dt>Fingerprint</dt>
        <dd>{me.fingerprint}</dd>
        {me.certificate != null && (
          <>
            <dt>Certificate of this page</dt>
            <dd class="mono wrap">SHA-256 {me.certificate}</dd>
          </>
        )}
        <dt>Listens on</dt>
        <dd class="mono wrap">{me.addresses.join('\n') || UNKNOWN}</dd>
        <dt>Pairing</dt>
        <dd>{me.pairing}</dd>
        <dt>Data</dt>
        <dd class="mono wrap">{me.data_dir}</dd>
        <dt>Configuration</dt>
        <dd class="mono wrap">{me.config_dir}</dd>
      </dl>
    </section>
  );
}
