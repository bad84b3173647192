// The stream's columns, applied. Pure: bytes and clocks live elsewhere.

import { rig, type Fixed, type Live, type Rig, type RigWord } from './rig';

const FIXED = ['id', 'name', 'role', 'address', 'here'] as const;
const LIVE = [
  'on', 'ping', 'score', 'seen', 'hash', 'algo', 'also', 'miners', 'run', 'state', 'temp', 'watt', 'acc', 'rej', 'problem',
] as const;

type Columns = Partial<Record<string, unknown>>;
export interface Frame extends Columns { v: number; at: number }

/** A frame that contradicts what came before: only a new snapshot helps. */
export class OutOfStep extends Error {}

export class Fleet {
  /** By the stream's index. */
  private readonly rows = new Map<number, Rig>();
  private v = -1;
  readonly byId = new Map<string, Rig>();

  snapshot(frame: Frame): void {
    this.clear();
    numbers(frame.i).forEach((index, at) => this.put(index, rig(row(frame, at))));
    this.v = frame.v;
  }

  /** Nothing is known. */
  clear(): void {
    this.rows.clear();
    this.byId.clear();
    this.v = -1;
  }

  /** Live columns of some rows. False when the frame is older than what is known. */
  delta(frame: Frame): boolean {
    if (!this.takes(frame.v)) return false;
    const indexes = numbers(frame.i);
    const present = LIVE.filter((name) => frame[name] !== undefined);
    const columns = present.map((name) => sized(frame, name, indexes.length));
    indexes.forEach((index, at) => {
      const before = this.rows.get(index);
      if (!before) throw new OutOfStep(`a change of row ${index}, which is not there`);
      const next: Record<string, unknown> = { ...before };
      // The verdict is made anew of the columns as the node sent them.
      present.forEach((name, which) => (next[name] = columns[which]?.[at]));
      this.put(index, rig(next as unknown as Fixed & Live));
    });
    this.v = frame.v;
    return true;
  }

  /** Rows that came, went or were renamed. Its delta of the same `v` follows. */
  peers(frame: Frame): boolean {
    if (!this.takes(frame.v)) return false;
    for (const index of numbers(frame.removed)) {
      const gone = this.rows.get(index);
      if (!gone) continue;
      this.byId.delete(gone.id);
      this.rows.delete(index);
    }
    const changed = frame.changed as Columns | undefined;
    numbers(changed?.i).forEach((index, at) => {
      const before = this.rows.get(index);
      if (!before || !changed) throw new OutOfStep(`a change of row ${index}, which is not there`);
      const next: Record<string, unknown> = { ...before };
      for (const name of FIXED) if (changed[name] !== undefined) next[name] = column(changed, name)?.[at];
      if (next.id !== before.id) this.byId.delete(before.id);
      this.put(index, rig(next as unknown as Fixed & Live));
    });
    const added = frame.added as Columns | undefined;
    numbers(added?.i).forEach((index, at) => {
      if (added) this.put(index, rig(row(added, at)));
    });
    // The delta of the same `v` is not old.
    this.v = frame.v - 1;
    return true;
  }

  private takes(v: number): boolean {
    return v > this.v;
  }

  private put(index: number, one: Rig): void {
    this.rows.set(index, one);
    this.byId.set(one.id, one);
  }
}

function row(columns: Columns, at: number): Fixed & Live {
  const found: Record<string, unknown> = {};
  for (const name of [...FIXED, ...LIVE]) found[name] = column(columns, name)?.[at] ?? null;
  if (typeof found.id !== 'string' || typeof found.name !== 'string') throw new OutOfStep(`row ${at} has no id or no name`);
  found.state ??= 'unknown' satisfies RigWord;
  return found as unknown as Fixed & Live;
}

function column(columns: Columns, name: string): unknown[] | undefined {
  const found = columns[name];
  return Array.isArray(found) ? found : undefined;
}

function sized(columns: Columns, name: string, length: number): unknown[] {
  const found = column(columns, name);
  if (found?.length !== length) throw new OutOfStep(`column ${name} has not ${length} values`);
  return found;
}

function numbers(value: unknown): number[] {
  return Array.isArray(value) ? (value as number[]) : [];
}
