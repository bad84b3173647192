// Who is at the page.

import { computed, signal } from '@preact/signals';

import { ask, Failure, failure, whenSignedOut } from '../api/client';
import type { Session } from '../api/types';

/** Who is at the page is known at once, or the node is not there. */
const PATIENCE_MS = 10_000;

/** Null until the node has said. */
export const session = signal<Session | null>(null);
/** Why the node has not said. */
export const sessionFailure = signal<Failure | null>(null);

/** Loopback names and addresses: nothing there is on a wire. */
const LOOPBACK = /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Whether others on the way can read what is typed and shown. */
export function isExposed(protocol: string, host: string, secure: boolean | undefined): boolean {
  if (protocol !== 'http:') return false;
  return secure === undefined ? !LOOPBACK.test(host) : !secure;
}

/** As above, for this page. */
export const exposed = computed(() => isExposed(location.protocol, location.hostname, session.value?.secure));

export async function loadSession(): Promise<void> {
  try {
    session.value = await ask<Session>('GET', '/session', undefined, undefined, PATIENCE_MS);
    sessionFailure.value = null;
  } catch (thrown) {
    sessionFailure.value = failure(thrown);
  }
}

export function signedOut(): void {
  if (session.value?.signed_in === false) return;
  const { password_set = false, secure = !isExposed(location.protocol, location.hostname, undefined) } = session.value ?? {};
  session.value = { signed_in: false, password_set, secure };
}

whenSignedOut(signedOut);

export async function signIn(proof: { link: string } | { password: string }): Promise<void> {
  await ask<Session>('POST', '/session', proof);
  // What the answer says holds once the browser shows the cookie that came with it.
  const shown = await ask<Session>('GET', '/session');
  if (!shown.signed_in) {
    const next = 'link' in proof ? 'then get a new link with `miner-ctrl ui`' : 'then sign in again';
    throw new Failure('no-cookie', 'This browser did not keep the cookie of this page.', `allow cookies for it, ${next}`, null, [], 0, null);
  }
  session.value = shown;
  sessionFailure.value = null;
}

export async function signOut(): Promise<void> {
  await ask('DELETE', '/session');
  signedOut();
}
