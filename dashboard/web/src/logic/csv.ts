// Rigs as a table for a spreadsheet.

import { worstFirst, type Line } from './job';
import type { Rig } from './rig';

const HEAD = ['name', 'id', 'state', 'why', 'role', 'address', 'algorithm', 'hashrate_hs', 'temperature_celsius', 'power_watt', 'accepted', 'rejected', 'ping_ms', 'score', 'last_seen'];

/** In the order given, at the node's time. What is not known is empty, which is not zero; what an absent rig said last is not so now. */
export function csv(rigs: readonly Rig[], at: number): string {
  const lines = rigs.map((rig) => {
    const live = rig.on === 1;
    const now = <T>(value: T | null) => (live ? value : null);
    // While it is there, the row holds when it came.
    const last = live ? at : rig.seen;
    const seen = last === null ? null : new Date(last * 1000).toISOString();
    return [rig.name, rig.id, rig.word, rig.why, rig.role, rig.address, now(rig.algo), now(rig.hash), now(rig.temp), now(rig.watt), now(rig.acc), now(rig.rej), now(rig.ping), rig.score, seen];
  });
  return table([HEAD, ...lines]);
}

/** What came of an order, rig by rig, the failed first. */
export function jobCsv({ rigs }: { rigs: readonly Line[] }): string {
  return table([['name', 'id', 'state', 'code', 'detail', 'hint'], ...worstFirst(rigs).map((line) => [line.name, line.id, line.state, line.code, line.detail, line.hint])]);
}

function table(rows: readonly (readonly (string | number | null)[])[]): string {
  return rows.map((cells) => `${cells.map(cell).join(',')}\r\n`).join('');
}

/** By RFC 4180, as the node writes its own. A spreadsheet takes what begins like a formula for one, and texts come from other machines. */
function cell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
