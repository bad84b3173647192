// Who is at the page.

import { signal } from '@preact/signals';

import { ask, failure, whenSignedOut, type Failure } from '../api/client';
import type { Session } from '../api/types';

/** Null until the node has said. */
export const session = signal<Session | null>(null);
/** Why the node has not said. */
export const sessionFailure = signal<Failure | null>(null);

export async function loadSession(): Promise<void> {
  try {
    session.value = await ask<Session>('GET', '/session');
    sessionFailure.value = null;
  } catch (thrown) {
    sessionFailure.value = failure(thrown);
  }
}

export function signedOut(): void {
  if (session.value?.signed_in === false) return;
  session.value = { signed_in: false, password_set: session.value?.password_set ?? false };
}

whenSignedOut(signedOut);

export async function signIn(proof: { link: string } | { password: string }): Promise<void> {
  session.value = await ask<Session>('POST', '/session', proof);
  sessionFailure.value = null;
}

export async function signOut(): Promise<void> {
  await ask('DELETE', '/session');
  signedOut();
}
