// Profiles of this node.

import { signal } from '@preact/signals';

import { ask, failure, part, type Failure } from '../api/client';
import type { Profile } from '../api/types';

/** In place of a name: a profile that is not there yet. No name begins so. */
export const NEW = '+';

/** Null until loaded. */
export const profiles = signal<Profile[] | null>(null);
export const profilesFailure = signal<Failure | null>(null);

export async function loadProfiles(): Promise<void> {
  try {
    profiles.value = await ask<Profile[]>('GET', '/profiles');
    profilesFailure.value = null;
  } catch (thrown) {
    profilesFailure.value = failure(thrown);
  }
}

/** As it is on the node now, whatever this page knows. */
export function profileNow(name: string): Promise<Profile> {
  return ask('GET', `/profiles/${part(name)}`);
}

export async function saveProfile(profile: Profile, isNew: boolean): Promise<void> {
  if (isNew) await ask('POST', '/profiles', profile);
  else await ask('PUT', `/profiles/${part(profile.name)}`, profile);
  await loadProfiles();
}

export async function removeProfile(name: string): Promise<void> {
  await ask('DELETE', `/profiles/${part(name)}`);
  await loadProfiles();
}
