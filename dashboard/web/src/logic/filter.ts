// The filter's grammar: words and `key:value`, `key>number`, each with `-` before it for "not"; all must hold.
//
//     barn state:offline role:dual algo:rx/0 temp>80 rej>3 ping>200 score<50 hash<1k why:"lost its pool"

import { blurred } from './causes';
import { needsAttention, rejected, type Rig, type State } from './rig';

type Test = (rig: Rig) => boolean;
/** `keys`: what it asks for by name. */
export interface Filter { test: Test; error: string | null; empty: boolean; keys: ReadonlySet<string> }

const STATES: Record<string, (rig: Rig) => boolean> = {
  online: (rig) => rig.on === 1,
  ok: is('ok'),
  offline: is('off'),
  attention: needsAttention,
  degraded: is('warn'),
  fault: is('crit'),
  mining: (rig) => rig.word === 'Mining',
  stopped: is('idle'),
  starting: is('wait'),
};

function is(state: State): Test {
  return (rig) => rig.shown === state;
}

/** Whoever looks for these wants to know why. */
const TROUBLES = ['attention', 'degraded', 'fault', 'offline'];

const TEXTS: Record<string, (rig: Rig) => string> = {
  name: (rig) => rig.name,
  address: (rig) => rig.address ?? '',
  id: (rig) => rig.id,
  role: (rig) => rig.role,
  // As it stands, or as Overview puts those together that differ in numbers alone.
  why: (rig) => (rig.why === null ? '' : `${rig.why}\n${blurred(rig.why)}`.replaceAll('"', '')),
  algo: (rig) => [rig.algo ?? '', ...(rig.also ?? []).map(([name]) => name)].join(' '),
};

const NUMBERS: Record<string, (rig: Rig) => number | null> = {
  temp: live((rig) => rig.temp),
  ping: live((rig) => rig.ping),
  score: (rig) => rig.score,
  hash: live((rig) => rig.hash),
  watt: live((rig) => rig.watt),
  // Percent, as the table shows it.
  rej: live((rig) => {
    const share = rejected(rig);
    return share === null ? null : 100 * share;
  }),
  miners: (rig) => rig.miners,
};

/** What was measured before a rig went offline is not true of it now. */
function live(read: (rig: Rig) => number | null): (rig: Rig) => number | null {
  return (rig) => (rig.on === 1 ? read(rig) : null);
}

const COMPARE: Record<string, (a: number, b: number) => boolean> = {
  '>': (a, b) => a > b,
  '<': (a, b) => a < b,
  '>=': (a, b) => a >= b,
  '<=': (a, b) => a <= b,
  '=': (a, b) => a === b,
};

/** Keys a person may use, for the help. */
export const KEYS = { states: Object.keys(STATES), texts: Object.keys(TEXTS), numbers: Object.keys(NUMBERS) };

export function parse(text: string): Filter {
  const tests: Test[] = [];
  const keys = new Set<string>();
  let error: string | null = null;
  // Quotes keep words together, closed or not yet.
  for (const [quoted] of text.toLowerCase().matchAll(/(?:"[^"]*"?|[^\s"])+/g)) {
    const token = quoted.replaceAll('"', '');
    if (token === '' || token === '-') continue;
    const not = token.startsWith('-');
    const asked = not ? token.slice(1) : token;
    const found = term(asked);
    if (typeof found === 'string') {
      error ??= found;
      continue;
    }
    tests.push(not ? (rig) => !found(rig) : found);
    const [, key, value = ''] = /^([a-z]+)[:<>=](.*)/.exec(asked) ?? [];
    if (key !== undefined) keys.add(key === 'state' && TROUBLES.some((word) => word.startsWith(value)) ? 'why' : key);
  }
  return { test: (rig) => tests.every((test) => test(rig)), error, empty: tests.length === 0, keys };
}

/** The test that a token asks for, or what is wrong with it. */
function term(token: string): Test | string {
  const compared = /^([a-z]+)(>=|<=|>|<|=)(.*)$/.exec(token);
  if (compared) {
    const [, key = '', sign = '', text = ''] = compared;
    const read = own(NUMBERS, key);
    const compare = own(COMPARE, sign);
    if (!read || !compare) return `\`${key}\` is not a number to compare; there are ${KEYS.numbers.join(', ')}`;
    const limit = number(text);
    if (limit === null) return `\`${token}\` needs a number, e.g. \`${key}${sign}80\``;
    return (rig) => {
      const value = read(rig);
      return value !== null && compare(value, limit);
    };
  }
  const keyed = /^([a-z]+):([^]*)$/.exec(token);
  const [, key = '', value = ''] = keyed ?? [];
  if (key === 'state') {
    // While it is being typed, a state is what begins so.
    const words = KEYS.states.filter((word) => word.startsWith(value));
    const exact = own(STATES, value);
    if (exact) return exact;
    if (words.length === 0) return `\`${value}\` is not a state; there are ${KEYS.states.join(', ')}`;
    return (rig) => words.some((word) => STATES[word]?.(rig));
  }
  const texts = own(TEXTS, key);
  if (texts) return (rig) => texts(rig).toLowerCase().includes(value);
  // Anything else is a word: an address has colons, too.
  return (rig) => rig.name.toLowerCase().includes(token) || (rig.address ?? '').toLowerCase().includes(token) || rig.id.startsWith(token);
}

/** Not what every object has: a person may well type `constructor:x`. */
function own<T>(table: Record<string, T>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

const FACTORS: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12, p: 1e15 };

/** `1.5k`, `20mh/s`, `80`. */
function number(text: string): number | null {
  const found = /^(\d+(?:\.\d+)?)([kmgtp]?)(?:h(?:\/s)?)?$/.exec(text);
  return found ? Number(found[1]) * (FACTORS[found[2] ?? ''] ?? 1) : null;
}
