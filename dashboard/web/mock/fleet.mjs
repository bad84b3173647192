// A fleet that exists in this process alone: enough of a node to look at the page.

const ALGORITHMS = [['rx/0', 9000], ['rx/0', 14_500], ['kawpow', 31e6], ['ghostrider', 4200], ['etchash', 58e6]];
const PLACES = ['barn', 'cellar', 'attic', 'north', 'south'];

/** The same fleet at every start. */
function lots(seed) {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

export class MockFleet {
  rigs = [];
  v = 1;
  #lot = lots(7);

  constructor(count) {
    const now = Math.floor(Date.now() / 1000);
    for (let index = 0; index < count; index += 1) this.rigs.push(this.#rig(index, now));
    if (count > 8) this.rigs[7].name = 'rig-in-the-second-row-of-the-north-hall-behind-the-transformer';
    if (count > 2) {
      const here = this.rigs[0];
      Object.assign(here, { name: 'desk', role: 'dual', here: 1, address: null, ping: null, score: 100, fate: 'mining' });
      this.judge(here);
    }
  }

  #rig(index, now) {
    const lot = this.#lot;
    const [algo, base] = ALGORITHMS[Math.floor(lot() * ALGORITHMS.length)];
    const fate = lot();
    const rig = {
      id: (0x1a2b3c4d5e6f0000n + BigInt(index * 7919)).toString(16).padStart(16, '0'),
      name: index === 1 ? 'rig-alpha' : `${PLACES[index % PLACES.length]}-${index}`,
      role: index % 23 === 5 ? 'controller' : index % 7 === 0 ? 'dual' : 'worker',
      address: `/ip4/192.168.${1 + (index >> 8)}.${index & 255}/tcp/9091/ws`,
      here: 0,
      on: 1, ping: Math.round(1 + lot() ** 4 * 300), score: Math.round(100 - lot() ** 6 * 80), seen: now,
      hash: null, algo, miners: 1, run: 1, state: 'mining', temp: algo.startsWith('rx') ? null : Math.round(52 + lot() * 30),
      watt: algo.startsWith('rx') ? null : Math.round(120 + lot() * 500), acc: Math.round(lot() * 9000), rej: Math.round(lot() * 20), problem: null,
      base, fate: fate < 0.8 ? 'mining' : fate < 0.86 ? 'offline' : fate < 0.91 ? 'idle' : fate < 0.94 ? 'degraded' : fate < 0.96 ? 'fault' : fate < 0.97 ? 'hot' : fate < 0.98 ? 'never' : 'wait',
    };
    if (index === 1) rig.fate = 'mining';
    if (rig.role === 'controller') rig.fate = 'unknown';
    rig.since = now - Math.round(lot() * 90_000);
    this.judge(rig);
    return rig;
  }

  /** Makes the row fit its fate. */
  judge(rig) {
    const words = { never: 'offline', hot: 'mining' };
    rig.state = words[rig.fate] ?? rig.fate;
    rig.on = rig.state === 'offline' ? 0 : 1;
    rig.problem = { degraded: 'xmrig-1 lost its pool: connection refused', fault: 'xmrig-1 ended with code 1: no such device', offline: 'connection refused', never: 'no route to host' }[rig.fate] ?? null;
    rig.run = { idle: 0, fault: 0, unknown: null, offline: null, never: null }[rig.fate] ?? (rig.fate in { idle: 1, fault: 1, unknown: 1 } ? rig.run : 1);
    if (rig.fate === 'idle' || rig.fate === 'fault') rig.run = 0;
    if (rig.state === 'unknown' || rig.on === 0) rig.miners = rig.run = null;
    else rig.miners = 1;
    if (rig.on === 0) {
      rig.ping = null;
      rig.seen = rig.fate === 'never' ? null : rig.since;
    } else rig.ping ??= rig.here ? null : 3;
    if (rig.fate === 'hot') Object.assign(rig, { algo: 'kawpow', base: 31e6, temp: 91, watt: 410 });
    const mines = rig.state === 'mining';
    rig.hash = mines ? Number((rig.base * (0.97 + this.#lot() * 0.06)).toPrecision(4)) : null;
    if (!mines) rig.algo = null;
    if (rig.state === 'unknown' || rig.on === 0 || rig.miners === null) Object.assign(rig, { temp: null, watt: null, acc: null, rej: null });
  }

  find(name) {
    return this.rigs.find((rig) => rig.id === name || rig.name === name);
  }

  static FIXED = ['id', 'name', 'role', 'address', 'here'];
  static LIVE = ['on', 'ping', 'score', 'seen', 'hash', 'algo', 'miners', 'run', 'state', 'temp', 'watt', 'acc', 'rej', 'problem'];

  columns(rigs, names) {
    return Object.fromEntries(names.map((name) => [name, rigs.map((rig) => rig[name])]));
  }

  snapshot() {
    const rigs = this.rigs.filter((rig) => !rig.removed);
    return { v: this.v, at: Math.floor(Date.now() / 1000), i: rigs.map((rig) => this.rigs.indexOf(rig)), ...this.columns(rigs, [...MockFleet.FIXED, ...MockFleet.LIVE]) };
  }

  /** A second passes for some of them. */
  tick(share) {
    const touched = [];
    this.rigs.forEach((rig, index) => {
      if (rig.removed) return;
      if (rig.changed || (rig.state === 'mining' && Math.random() < share)) {
        if (!rig.changed) {
          rig.hash = Number((rig.base * (0.97 + Math.random() * 0.06)).toPrecision(4));
          if (rig.ping !== null) rig.ping = Math.max(0, rig.ping + Math.round(Math.random() * 2 - 1));
          rig.acc = (rig.acc ?? 0) + (Math.random() < 0.2 ? 1 : 0);
        }
        rig.changed = false;
        touched.push(index);
      }
    });
    this.v += 1;
    const rigs = touched.map((index) => this.rigs[index]);
    return { v: this.v, at: Math.floor(Date.now() / 1000), i: touched, ...this.columns(rigs, MockFleet.LIVE) };
  }

  peer(rig) {
    return {
      id: rig.id, name: rig.name, role: rig.role, peer_id: `12D3KooW${rig.id.repeat(3).slice(0, 44)}`, address: rig.address,
      addresses: rig.address ? [rig.address] : [], permission: rig.permission ?? 'none', online: rig.on === 1, ping_ms: rig.ping, score: rig.score, last_seen: rig.seen,
      paired_at: 1_790_000_000, agent: 'miner-ctrl/0.1.0', problem: rig.on ? null : rig.problem,
    };
  }

  view(rig) {
    const known = rig.miners !== null;
    const gpu = rig.temp !== null;
    const miner = {
      name: gpu ? 'tt-miner-1' : 'xmrig-1', program: gpu ? 'tt-miner' : 'xmrig', profile: gpu ? 'raven' : 'monero-main',
      state: { idle: 'stopped', fault: 'failed', degraded: 'no-pool', wait: 'warming' }[rig.state] ?? 'mining',
      state_seconds: 812, uptime_seconds: rig.run ? 91_234 : 0, hashrate: rig.hash, hashrates: [rig.hash, rig.hash && rig.hash * 0.99, null],
      shares: { accepted: rig.acc ?? 0, rejected: rig.rej ?? 0 }, algorithm: rig.algo, pool: rig.hash ? 'pool.example:3333' : null, version: '6.22.0',
      devices: gpu ? [{ name: 'RTX 3070', hashrate: rig.hash, temperature_celsius: rig.temp, fan_percent: 62, power_watt: rig.watt }] : [], restarts: rig.fate === 'fault' ? 3 : 0,
      problem: rig.fate === 'fault' || rig.fate === 'degraded' ? rig.problem.replace(/^xmrig-1 /, '') : null,
    };
    return {
      peer: this.peer(rig),
      stats: known ? {
        revision: 5, name: rig.name, version: '0.1.0',
        host: { os: 'Linux 6.1.0', cpu: 'AMD Ryzen 9 5950X 16-Core Processor', threads: 32, load: 31.2, memory_total: 34_359_738_368, memory_available: 21_474_836_480, uptime_seconds: 812_345 },
        miners: [miner],
      } : null,
      algorithm: rig.on ? rig.algo : null, hashrate: rig.on ? rig.hash : null, also: [], age_seconds: known ? 0 : null, problem: known ? null : rig.problem,
    };
  }
}
