// A rig that mines and wants nothing.

import type { Fixed, Live } from './rig';

export const row = (change: Partial<Fixed & Live> = {}): Fixed & Live => ({
  id: 'a', name: 'rig-a', role: 'worker', address: null, here: 0, on: 1, ping: 3, score: 100, seen: 1000, hash: 500, algo: 'rx/0', also: null, miners: 1, run: 1,
  state: 'mining', temp: null, watt: null, acc: 1000, rej: 0, problem: null, ...change,
});
