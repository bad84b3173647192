// One profile as a form. What the node refuses stands at its field.

import { useEffect, useRef, useState } from 'preact/hooks';

import { failure, type Failure } from '../api/client';
import type { Profile } from '../api/types';
import { differences, draftOf, EMPTY_POOL, fieldsOf, profileOf, type Draft, type PoolDraft } from '../logic/draft';
import { fieldErrors, fieldOf } from '../logic/pointer';
import { drafts, keepDraft } from '../store/drafts';
import { readOnly } from '../store/live';
import { loadProfiles, NEW, profileNow, profilesFailure, saveProfile } from '../store/profiles';
import { go, href } from '../store/route';
import { done } from '../store/toast';
import { Head } from '../ui/frame';
import { Act, Choice, Field, Trouble } from '../ui/parts';
import { Shape } from '../ui/shape';

/** As many as the node takes. */
const MAX_POOLS = 8;

export function Editor({ profile }: { profile: Profile | null }) {
  const key = profile?.name ?? NEW;
  const kept = drafts.value.get(key);
  const draft = kept?.draft ?? draftOf(profile);
  const from = kept ? kept.from : profile;
  const [resumed] = useState(kept !== undefined);
  const [problem, setProblem] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  /** What somebody else made of it meanwhile. */
  const [other, setOther] = useState<Profile | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const errors = fieldErrors(problem, fieldsOf(draft));
  // An argument's error is shown at the box of all of them.
  const argument = problem?.fields.find(({ pointer }) => fieldOf(pointer).startsWith('arguments'));
  const placed = Object.keys(errors).length > 0 || argument !== undefined;
  const set = (change: Partial<Draft>) => {
    const next = { ...draft, ...change };
    // What was undone is no change.
    keepDraft(key, JSON.stringify(next) === JSON.stringify(draftOf(from)) ? null : { draft: next, from });
  };
  const setPool = (at: number, change: Partial<PoolDraft>) => set({ pools: draft.pools.map((pool, index) => (index === at ? { ...pool, ...change } : pool)) });

  useEffect(() => {
    form.current?.querySelector<HTMLElement>('[aria-invalid=true]')?.focus();
  }, [problem]);

  /** `known`: what the person has seen, and means to replace. */
  const save = async (known: Profile | null) => {
    setBusy(true);
    setProblem(null);
    setOther(null);
    try {
      const wanted = profileOf(draft);
      const there = profile && (await profileNow(profile.name));
      // What stands there may be what is saved now, of which the answer was lost.
      if (differences(there, known).length > 0 && differences(there, wanted).length > 0) {
        setOther(there);
        setBusy(false);
        return;
      }
      await saveProfile(wanted, profile === null);
      keepDraft(key, null);
      done(`Profile ${wanted.name} is saved`);
      go(href('profiles'));
    } catch (thrown) {
      setProblem(failure(thrown));
      setBusy(false);
    }
  };

  const takeOther = async () => {
    await loadProfiles();
    // What the person wrote stays until there is something in its place.
    if (profilesFailure.value) {
      setProblem(profilesFailure.value);
      return;
    }
    keepDraft(key, null);
    setOther(null);
  };

  return (
    <>
      <Head title={profile ? profile.name : 'New profile'} back={href('profiles')} />
      <div class="fill page">
        <form
          class="card editor"
          ref={form}
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            if (!busy && readOnly.value === null) void save(from);
          }}
        >
          {resumed && kept && <p class="t2">Here is what you wrote before; it is not saved yet.</p>}
          {problem && !placed && <Trouble failure={problem} />}
          {problem && placed && (
            <p class="error" role="alert">
              Not saved: {problem.detail}
            </p>
          )}
          <div class="columns">
            {profile ? (
              <div class="field">
                <span class="label-like">Name</span>
                <b class="wrap">{profile.name}</b>
                <p class="hint">A profile is not renamed: write a new one.</p>
              </div>
            ) : (
              <Field label="Name" value={draft.name} onValue={(name) => set({ name })} error={errors.name} hint="Letters, digits, - _ ." />
            )}
            <Choice label="Program" value={draft.program} options={[['xmrig', 'XMRig'], ['tt-miner', 'TT-Miner']] as const} onValue={(program) => set({ program })} error={errors.program} />
            <Field label="Algorithm" value={draft.algorithm} onValue={(algorithm) => set({ algorithm })} error={errors.algorithm} required={false} mono placeholder="rx/0" hint="By the program’s own name" />
            <Field label="Coin" value={draft.coin} onValue={(coin) => set({ coin })} error={errors.coin} required={false} mono placeholder="monero" hint="Instead of the algorithm" />
          </div>
          <Field label="Wallet or pool login" value={draft.wallet} onValue={(wallet) => set({ wallet })} error={errors.wallet} mono />
          <div class="columns">
            <Field label="Pool password" value={draft.password} onValue={(password) => set({ password })} error={errors.password} required={false} mono hint="Most pools take anything. Once saved it is never shown." />
            <Field label="Worker name at the pool" value={draft.rig_name} onValue={(rig_name) => set({ rig_name })} error={errors.rig_name} required={false} mono placeholder="{name}" hint="{name} becomes the rig’s name" />
          </div>
          <fieldset>
            <legend>Pools, the first has priority</legend>
            {errors.pools && <p class="error">{errors.pools}</p>}
            {draft.pools.map((pool, at) => (
              <PoolFields key={at} at={at} pool={pool} errors={errors} onChange={(change) => setPool(at, change)} onRemove={draft.pools.length > 1 ? () => set({ pools: draft.pools.filter((_, index) => index !== at) }) : null} />
            ))}
            <button type="button" disabled={draft.pools.length >= MAX_POOLS} onClick={() => set({ pools: [...draft.pools, EMPTY_POOL] })}>
              Add pool
            </button>
          </fieldset>
          <details open={errors.threads !== undefined || errors.threads_hint !== undefined || argument !== undefined}>
            <summary>More</summary>
            <div class="columns">
              <Field label="CPU threads" value={draft.threads} onValue={(threads) => set({ threads })} error={errors.threads} required={false} hint="Left out, the program decides" />
              <Field label="Percent of threads" value={draft.threads_hint} onValue={(threads_hint) => set({ threads_hint })} error={errors.threads_hint} required={false} hint="1 to 100, instead of a number" />
              <Choice label="Huge pages" value={draft.huge_pages} options={[['auto', 'The program decides'], ['on', 'On'], ['off', 'Off']] as const} onValue={(huge_pages) => set({ huge_pages })} error={errors.huge_pages} />
            </div>
            <div class="field">
              <label for="arguments">
                Extra arguments <span class="t3">one a line</span>
              </label>
              <textarea
                id="arguments"
                class="mono"
                rows={3}
                spellcheck={false}
                aria-invalid={argument ? 'true' : undefined}
                value={draft.arguments}
                onInput={(event) => set({ arguments: event.currentTarget.value })}
              />
              {argument && (
                <p class="error">
                  {fieldOf(argument.pointer).replace('arguments.', 'Argument ')}: {argument.detail}
                </p>
              )}
            </div>
          </details>
          {other && (
            <div class="trouble" role="alert">
              <Shape state="warn" />
              <div>
                <p>Not saved: meanwhile it was changed elsewhere: {differences(other, from).join(', ')}.</p>
                <p class="row">
                  <Act why={readOnly.value} onClick={() => void save(other)}>
                    Save mine over it
                  </Act>
                  <button type="button" onClick={() => void takeOther()}>
                    Take what is there
                  </button>
                </p>
              </div>
            </div>
          )}
          <p class="row">
            <Act class="primary" type="submit" why={readOnly.value}>
              {busy ? 'Saving…' : 'Save'}
            </Act>
            <a class="button" href={href('profiles')} onClick={() => keepDraft(key, null)}>
              {kept ? 'Discard changes' : 'Cancel'}
            </a>
          </p>
        </form>
      </div>
    </>
  );
}

interface PoolProps {
  at: number;
  pool: PoolDraft;
  errors: Record<string, string | undefined>;
  onChange: (change: Partial<PoolDraft>) => void;
  onRemove: (() => void) | null;
}

function PoolFields({ at, pool, errors, onChange, onRemove }: PoolProps) {
  const error = (field: string) => errors[`pools.${at}.${field}`];
  return (
    <div class="pool" role="group" aria-label={`Pool ${at + 1}`}>
      <Field label={`Pool ${at + 1} address`} value={pool.url} onValue={(url) => onChange({ url })} error={error('url')} mono placeholder="pool.example:3333" />
      <label class="tickline">
        <input type="checkbox" checked={pool.tls} onChange={(event) => onChange({ tls: event.currentTarget.checked })} /> TLS
      </label>
      {onRemove && (
        <button type="button" class="plain remove" aria-label={`Remove pool ${at + 1}`} onClick={onRemove}>
          Remove
        </button>
      )}
      <details open={error('wallet') !== undefined || error('password') !== undefined || error('fingerprint') !== undefined}>
        <summary>Own login and certificate</summary>
        <div class="columns">
          <Field label="Login at this pool" value={pool.wallet} onValue={(wallet) => onChange({ wallet })} error={error('wallet')} required={false} mono />
          <Field label="Password at this pool" value={pool.password} onValue={(password) => onChange({ password })} error={error('password')} required={false} mono />
        </div>
        <Field label="Certificate SHA-256" value={pool.fingerprint} onValue={(fingerprint) => onChange({ fingerprint })} error={error('fingerprint')} required={false} mono hint="64 hexadecimal digits; needs TLS" />
      </details>
    </div>
  );
}
