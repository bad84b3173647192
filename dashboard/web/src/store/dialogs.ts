// Which dialog is open. One at a time, asked for from anywhere.

import { signal } from '@preact/signals';

import type { PeerView } from '../api/types';
import type { Rig } from '../logic/rig';

export type Open =
  | { kind: 'add' }
  | { kind: 'edit'; peer: PeerView; onChanged: () => void }
  | { kind: 'start'; rigs: Rig[] }
  | { kind: 'deploy'; rigs: Rig[]; profile?: string }
  | { kind: 'stored'; rig: Rig }
  | { kind: 'stop'; rigs: Rig[] }
  | { kind: 'restart'; rigs: Rig[] }
  | { kind: 'remove'; rigs: Rig[] }
  | { kind: 'keys' }
  | { kind: 'palette' };

export const dialog = signal<Open | null>(null);

export function open(which: Open): void {
  dialog.value = which;
}

export function closeDialog(): void {
  dialog.value = null;
}
