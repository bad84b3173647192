// A profile as a form holds it: every field a text. Empty means left out.

import type { Pool, Profile, Program } from '../api/types';

export interface PoolDraft { url: string; wallet: string; password: string; tls: boolean; fingerprint: string }

export interface Draft {
  name: string;
  program: Program;
  algorithm: string;
  coin: string;
  pools: PoolDraft[];
  wallet: string;
  password: string;
  rig_name: string;
  threads: string;
  threads_hint: string;
  huge_pages: 'auto' | 'on' | 'off';
  arguments: string;
}

export const EMPTY_POOL: PoolDraft = { url: '', wallet: '', password: '', tls: false, fingerprint: '' };

export function draftOf(profile: Profile | null): Draft {
  return {
    name: profile?.name ?? '',
    program: profile?.program ?? 'xmrig',
    algorithm: profile?.algorithm ?? '',
    coin: profile?.coin ?? '',
    pools: (profile?.pools ?? [EMPTY_POOL]).map((pool) => ({
      url: pool.url, wallet: pool.wallet ?? '', password: pool.password ?? '', tls: pool.tls, fingerprint: pool.fingerprint ?? '',
    })),
    wallet: profile?.wallet ?? '',
    password: profile?.password ?? '',
    rig_name: profile?.rig_name ?? '',
    threads: profile?.threads?.toString() ?? '',
    threads_hint: profile?.threads_hint?.toString() ?? '',
    huge_pages: profile?.huge_pages === undefined ? 'auto' : profile.huge_pages ? 'on' : 'off',
    arguments: (profile?.arguments ?? []).join('\n'),
  };
}

/** In which fields two profiles differ, as far as a form shows them: a password that is set looks like any other. */
export function differences(one: Profile | null, other: Profile | null): string[] {
  const [a, b] = [draftOf(one), draftOf(other)];
  return (Object.keys(a) as (keyof Draft)[]).filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key])).map((key) => key.replace('_', ' '));
}

/** What to send. The node checks it all; a number that is none goes as it is, to be refused by its name. */
export function profileOf(draft: Draft): Profile {
  const profile: Record<string, unknown> = {
    name: draft.name.trim(),
    program: draft.program,
    pools: draft.pools.map(poolOf),
    wallet: draft.wallet.trim(),
  };
  for (const key of ['algorithm', 'coin', 'rig_name'] as const) if (draft[key].trim() !== '') profile[key] = draft[key].trim();
  if (draft.password !== '') profile.password = draft.password;
  for (const key of ['threads', 'threads_hint'] as const) if (draft[key].trim() !== '') profile[key] = number(draft[key]);
  if (draft.huge_pages !== 'auto') profile.huge_pages = draft.huge_pages === 'on';
  const lines = draft.arguments.split('\n').map((line) => line.trim()).filter((line) => line !== '');
  if (lines.length > 0) profile.arguments = lines;
  return profile as unknown as Profile;
}

function poolOf(draft: PoolDraft): Pool {
  const pool: Pool = { url: draft.url.trim(), tls: draft.tls };
  if (draft.wallet.trim() !== '') pool.wallet = draft.wallet.trim();
  if (draft.password !== '') pool.password = draft.password;
  if (draft.fingerprint.trim() !== '') pool.fingerprint = draft.fingerprint.trim();
  return pool;
}

function number(text: string): number | string {
  const value = Number(text);
  return Number.isInteger(value) ? value : text;
}

/** Every field that the form has, for placing refusals. */
export function fieldsOf(draft: Draft): string[] {
  const pools = draft.pools.flatMap((_, at) => ['url', 'wallet', 'password', 'tls', 'fingerprint'].map((field) => `pools.${at}.${field}`));
  return ['name', 'program', 'algorithm', 'coin', 'pools', 'wallet', 'password', 'rig_name', 'threads', 'threads_hint', 'huge_pages', 'arguments', ...pools];
}
