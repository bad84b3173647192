// Nobody is signed in. Says how to, and takes the password where there is one.

import { useEffect, useRef, useState } from 'preact/hooks';

import { failure, type Failure } from '../api/client';
import { loadSession, session, signIn } from '../store/session';
import { Exposed } from '../ui/frame';
import { Field, Trouble } from '../ui/parts';

export function Login({ linkFailure }: { linkFailure: Failure | null }) {
  const [password, setPassword] = useState('');
  const [problem, setProblem] = useState<Failure | null>(linkFailure);
  const [busy, setBusy] = useState(false);
  const wrong = problem?.code === 'wrong-credentials' && problem !== linkFailure;
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => form.current?.querySelector('input')?.focus(), []);
  useEffect(() => {
    // Another tab may have signed in.
    const look = () => document.hidden || void loadSession();
    document.addEventListener('visibilitychange', look);
    addEventListener('focus', look);
    return () => {
      document.removeEventListener('visibilitychange', look);
      removeEventListener('focus', look);
    };
  }, []);
  const send = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await signIn({ password });
    } catch (thrown) {
      const why = failure(thrown);
      setProblem(why);
      setPassword('');
    }
    setBusy(false);
  };
  return (
    <main class="alone">
      <div class="card">
        <h1>Sign in to miner-ctrl</h1>
        <Exposed />
        {problem && !wrong && <Trouble failure={problem === linkFailure ? spent(problem) : problem} />}
        {session.value?.password_set && (
          <form
            ref={form}
            noValidate
            onSubmit={(event) => {
              event.preventDefault();
              if (!busy) void send();
            }}
          >
            <Field label="Password" type="password" autocomplete="current-password" value={password} onValue={setPassword} error={wrong ? 'Not the password of this node' : undefined} />
            <button type="submit" class="primary" disabled={busy || password === ''}>
              {busy ? 'Signing in…' : 'Sign in'}
            </button>
          </form>
        )}
        <p class="t2">
          {session.value?.password_set ? 'Or run' : 'Run'} <code>miner-ctrl ui</code> on the machine of this node: it gives a link that signs you in once.
        </p>
      </div>
    </main>
  );
}

/** A link that is refused was used, or is too old: say that instead of "credentials". */
function spent(problem: Failure): Failure {
  if (problem.code !== 'wrong-credentials') return problem;
  return Object.assign(Object.create(Object.getPrototypeOf(problem) as object) as Failure, problem, {
    detail: 'This link was used already, or is older than ten minutes.',
    hint: 'get a new one with `miner-ctrl ui`',
  });
}
