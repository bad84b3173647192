// Numbers for people. Unknown is "–", never zero.

export const UNKNOWN = '–';

export const UNITS = ['H/s', 'kH/s', 'MH/s', 'GH/s', 'TH/s', 'PH/s', 'EH/s'];

/** One unit to the next. */
export const UNIT_STEP = 1000;

/** As the command line prints it: `220.2 H/s`, `4.00 MH/s`. */
export function hashrate(perSecond: number | null | undefined): string {
  if (perSecond === null || perSecond === undefined || !Number.isFinite(perSecond)) return UNKNOWN;
  let value = perSecond;
  let unit = 0;
  while (value >= UNIT_STEP && unit < UNITS.length - 1) {
    value /= UNIT_STEP;
    unit += 1;
  }
  return `${value.toFixed(value >= 100 ? 1 : 2)} ${UNITS[unit]}`;
}

/** Whole milliseconds; from a second on, seconds: the column has room for three digits. */
export function ping(ms: number | null): string {
  if (ms === null) return UNKNOWN;
  if (ms < 1) return '< 1 ms';
  return ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** One step of the unit that fits: `18 s`, `10 min`, `3 h`, `3 d`. */
export function span(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

/** Two steps, for what has room: `2 h 5 min`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 3600) return span(s);
  const rest = s < 86_400 ? Math.floor((s % 3600) / 60) : Math.floor((s % 86_400) / 3600);
  return rest === 0 ? span(s) : `${span(s)} ${rest} ${s < 86_400 ? 'min' : 'h'}`;
}

/** Younger than this is `now`: reports come every few seconds, and a flickering number tells nothing. */
const NOW_SECONDS = 5;

export function lastSeen(seen: number | null, online: boolean, now: number): string {
  if (online) return 'now';
  if (seen === null) return 'Never';
  const age = now - seen;
  return age < NOW_SECONDS ? 'now' : span(age);
}

export function clock(unixSeconds: number): string {
  return new Date(unixSeconds * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

export function exactTime(unixSeconds: number | null): string {
  return unixSeconds === null ? 'never' : new Date(unixSeconds * 1000).toLocaleString();
}

export function bytes(count: number): string {
  const gib = count / 2 ** 30;
  return gib >= 10 ? `${Math.round(gib)} GiB` : gib >= 1 ? `${gib.toFixed(1)} GiB` : `${Math.round(count / 2 ** 20)} MiB`;
}

export function celsius(degrees: number | null): string {
  return degrees === null ? UNKNOWN : `${Math.round(degrees)} °C`;
}

/** `420 W`, `85.2 kW`. */
export function watts(count: number | null): string {
  if (count === null) return UNKNOWN;
  return count < UNIT_STEP ? `${Math.round(count)} W` : `${(count / UNIT_STEP).toFixed(1)} kW`;
}

/** Of a part of one. */
export function percent(part: number | null): string {
  return part === null ? UNKNOWN : `${(100 * part).toFixed(1)} %`;
}

/** `host:port` of a multiaddr; anything else as it is. */
export function shortAddress(address: string | null): string {
  if (address === null) return UNKNOWN;
  const found = /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d+)/.exec(address);
  if (!found) return address;
  const [, kind, host, port] = found;
  return kind === 'ip6' ? `[${host}]:${port}` : `${host}:${port}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
