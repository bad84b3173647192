// A stand-in node for looking at the page: REST, events and the built page, with the gateway's own headers.
//
//     npm run build && node mock/server.mjs --rigs 60 --port 9099
//
// Options: --rigs N, --port N, --share 0.1 (rows that change each second), --hz 1 (such seconds in a second), --version 0.1.0, --login (sign-in is needed; the password
// is `correct horse`, the link any 43 characters that begin with `A`).

import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { MockFleet } from './fleet.mjs';

const { values: options } = parseArgs({
  options: {
    rigs: { type: 'string', default: '60' }, port: { type: 'string', default: '9099' }, share: { type: 'string', default: '0.1' }, hz: { type: 'string', default: '1' }, login: { type: 'boolean', default: false }, version: { type: 'string', default: '0.1.0' },
  },
});
const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const API = '/api/v1/mining';
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; " +
  "form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

const fleet = new MockFleet(Number(options.rigs));
const now = () => Math.floor(Date.now() / 1000);
const streams = new Set();
let signedIn = !options.login;
let seq = 0;
let code;
const pending = [{ id: '00ff00ff00ff00ff', name: 'rig-new', role: 'worker', address: '192.168.1.77:51002', words: 'amber birch cedar delta ember fjord', since: now() - 40 }];
const profiles = new Map([
  ['monero-main', { name: 'monero-main', program: 'xmrig', algorithm: 'rx/0', pools: [{ url: 'pool.example:3333', tls: false }, { url: 'stratum+ssl://backup.example:443', tls: true }], wallet: '44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A', password: '********' }],
  ['raven', { name: 'raven', program: 'tt-miner', coin: 'ravencoin', pools: [{ url: 'rvn.example:6060', tls: false }], wallet: 'RXf8exampleexampleexampleexample12' }],
]);
const activity = [];
// Nobody was here before.
if (fleet.rigs.length === 0) {
  profiles.clear();
  pending.length = 0;
}
let tokens = [{ id: 'k1', name: 'grafana', scope: 'read', created_at: now() - 900_000, last_used: now() - 20 }];

function note(action, target, detail, result) {
  const entry = { id: activity.length + 1, at: now(), by: 'session', who: '4f1d', from: '127.0.0.1', action, target, detail, result };
  activity.unshift(entry);
  send('activity', entry);
}
for (const [at, name] of fleet.rigs.slice(1, 8).entries()) activity.unshift({ id: at + 1, at: now() - 900 + at * 60, by: at % 3 ? 'session' : 'local', who: at % 3 ? '4f1d' : null, from: at % 3 ? '192.0.2.9' : null, action: ['start', 'deploy', 'stop'][at % 3], target: name.name, detail: 'profile monero-main', result: at === 4 ? 'timeout' : 'ok' });

function send(event, data, only) {
  const text = `id: mock-${(seq += 1)}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  for (const stream of only ? [only] : streams) stream.write(text);
}
setInterval(() => {
  const delta = fleet.tick(Number(options.share));
  if (delta.i.length > 0) send('delta', delta);
}, 1000 / Number(options.hz));
setInterval(() => send('hb', { at: now() }), 15_000);

class Refused extends Error {
  constructor(status, code, detail, hint, errors) {
    super(detail);
    Object.assign(this, { status, code, hint, errors });
  }
}
const invalid = (field, why) => new Refused(422, 'invalid', `${field} ${why}`, 'correct what is named, then try again', [{ pointer: `#/${field.replace(/\[(\d+)\]/g, '/$1').replaceAll('.', '/')}`, detail: why }]);

function rigNamed(name) {
  const rig = fleet.find(name);
  if (!rig) throw new Refused(404, 'unknown-peer', `no peer \`${name}\``, 'list peers with `miner-ctrl peer list`');
  return rig;
}

function reachable(name) {
  const rig = rigNamed(name);
  if (rig.on === 0) throw new Refused(502, 'unreachable', `${rig.name} is not connected: ${rig.problem}`, 'check that it runs and that its address is right');
  return rig;
}

const wait = (ms) => new Promise((wake) => setTimeout(wake, ms));

async function command(verb, name, fate, body) {
  const rig = reachable(name);
  await wait(300 + Math.random() * 900);
  if (rig.name.endsWith('3') && verb === 'deploy') {
    note(verb, rig.name, `profile ${body.profile}`, 'policy-forbids');
    throw new Refused(403, 'policy-forbids', `${rig.name} refused: the rig's policy forbids it: wallet`, 'only the rig\'s operator can change its policy');
  }
  if (fate) {
    const changed = rig.fate !== fate;
    rig.fate = fate;
    rig.algo ??= 'rx/0';
    fleet.judge(rig);
    rig.changed = true;
    note(verb, rig.name, body.profile ? `profile ${body.profile}` : null, 'ok');
    return { rig: rig.name, miners: fleet.view(rig).stats.miners, changed };
  }
  note(verb, rig.name, `profile ${body.profile}`, 'ok');
  return { rig: rig.name, profile: body.profile, changed: true };
}

function checked(profile) {
  if (!/^[A-Za-z0-9][\w.-]*$/.test(profile.name ?? '')) throw invalid('name', 'is empty or has a character that is not allowed');
  profile.pools.forEach((pool, at) => {
    if (!/:\d+$/.test(pool.url)) throw invalid(`pools[${at}].url`, 'is not host:port, e.g. pool.example:3333');
  });
  if (!profile.wallet) throw invalid('wallet', 'is empty: give the wallet address or pool login');
  if (profile.password) profile.password = '********';
  return profile;
}

const jobs = new Map();
const summary = ({ rigs, ...job }) => job;

/** Carries a job out, four rigs at a time, as the node does. */
function beginJob(body) {
  const job = { id: `mock-${jobs.size + 1}`, v: 1, verb: body.verb, profile: body.profile ?? null, miner: null, by: 'session', who: '4f1d', began: now(), ended: null, counts: { waiting: body.rigs.length, running: 0, done: 0, failed: 0, unknown: 0 }, rigs: body.rigs.map((id) => ({ id, name: fleet.find(id)?.name ?? id, state: 'waiting', code: null, detail: null, hint: null })) };
  const waiting = job.rigs.map((_, i) => i);
  const set = (i, change) => {
    job.counts[job.rigs[i].state] -= 1;
    Object.assign(job.rigs[i], change);
    job.counts[job.rigs[i].state] += 1;
    job.v += 1;
    if (job.counts.waiting + job.counts.running === 0) job.ended = now();
    send('job', { ...summary(job), changed: [{ i, ...job.rigs[i] }] });
  };
  const worker = async () => {
    for (let i = waiting.shift(); i !== undefined; i = waiting.shift()) {
      set(i, { state: 'running' });
      try {
        const { id } = job.rigs[i];
        if (job.verb === 'ping') set(i, { state: 'done', detail: `${reachable(id).ping ?? 1} ms` });
        else {
          await command(job.verb, id, { start: 'mining', restart: 'mining', stop: 'idle' }[job.verb], body);
          set(i, { state: 'done', detail: { deploy: `profile ${body.profile}`, start: 'xmrig-1 is warming', restart: 'xmrig-1 is warming', stop: 'xmrig-1 is stopped' }[job.verb] });
        }
      } catch (error) {
        set(i, error.code === 'timeout' ? { state: 'unknown', code: error.code, detail: error.message, hint: error.hint } : { state: 'failed', code: error.code ?? 'internal', detail: error.message, hint: error.hint ?? null });
      }
    }
  };
  jobs.set(job.id, job);
  bodies.set(job.id, body);
  for (let at = 0; at < 4; at += 1) void worker();
  return job;
}
const bodies = new Map();

function jobNamed(id) {
  const job = jobs.get(id);
  if (!job) throw new Refused(404, 'unknown-job', `no job \`${id}\``, 'the last 100 jobs are kept, until the node stops');
  return job;
}

let logNumber = 900;
async function logs(query) {
  const after = Number(query.get('after') ?? 0);
  if (after >= logNumber) await wait(1500);
  logNumber += query.has('after') ? 1 + Math.floor(Math.random() * 3) : 0;
  const first = Math.max(after + 1, logNumber - Number(query.get('lines') ?? 100) + 1);
  const lines = [];
  for (let number = first; number <= logNumber; number += 1) {
    const text = number % 17 === 0 ? `net      rejected (${number}/3) diff 1000 "low difficulty <b>share</b>"` : number % 5 === 0 ? `cpu      accepted (${number}/0) diff 480045 (${number % 90} ms)` : `miner    speed 10s/60s/15m 9012.${number % 10} 9001.1 n/a H/s max 9120.0 H/s`;
    lines.push({ number, text: `[2026-11-22 20:${String(number % 60).padStart(2, '0')}:11]  ${text}` });
  }
  return { miner: 'xmrig-1', lines, newest: logNumber, lost: 0 };
}

/** Waves with a gap of three hours; `sums` by algorithm, or one miner of a rig. */
function history(query, ids, base, hot = false) {
  const since = Number(query.get('since') ?? now() - 86_400);
  const back = now() - since;
  const step = Number(query.get('step') ?? (back <= 15_000 ? 10 : back <= 90_000 ? 60 : 900));
  const t0 = since - (since % step);
  const gap = now() - 6 * 3600;
  const value = (which, at) => (at > gap && at < gap + 3 * 3600 ? null : Math.round(base(which) * (1 + 0.04 * Math.sin(at / 3100 + which) + 0.01 * Math.sin(at / 97))));
  const measure = query.get('measure') ?? 'hashrate';
  return { t0, step, measure, measures: hot ? ['hashrate', 'power', 'temperature'] : ['hashrate'], series: ids.map((id, which) => ({ id, v: Array.from({ length: Math.ceil((now() - t0) / step) }, (_, at) => value(which, t0 + at * step)) })) };
}

const info = () => ({
  id: '1a2b3c4d5e6f0000', name: 'desk', role: 'dual', peer_id: '12D3KooWQe5VqM9mockmockmockmockmockmockmockmock', public_key: 'AAAA', fingerprint: 'amber birch cedar delta ember fjord', created_at: 1_780_000_000, version: '0.1.0',
  serving: true, addresses: ['/ip4/192.168.1.10/tcp/9091/ws/p2p/12D3KooWQe5VqM9mock'], peers: Math.max(0, fleet.rigs.length - 1), peers_online: fleet.rigs.filter((rig) => rig.on && !rig.here).length, pairing: 'ask',
  ...(code ? { pairing_code: code } : {}), certificate: Array.from({ length: 32 }, (_, at) => (at * 37 % 256).toString(16).padStart(2, '0')).join(':').toUpperCase(), data_dir: '/var/lib/miner-ctrl', config_dir: '/etc/miner-ctrl',
});
const session = () => ({ signed_in: signedIn, password_set: true, ...(signedIn ? { scope: 'admin', by: 'session', expires_at: now() + 2_592_000 } : {}) });

/** [method, path with `:name` for a part, answer]. */
const ROUTES = [
  ['GET', '/session', session],
  ['POST', '/session', ({ body }) => {
    if (body.password !== 'correct horse' && !/^A.{42}$/.test(body.link ?? '')) throw new Refused(401, 'wrong-credentials', 'wrong credentials', 'try again');
    signedIn = true;
    return session();
  }],
  ['DELETE', '/session', () => void (signedIn = false)],
  ['GET', '/access', () => ({ password_set: true, sessions: [{ id: 's1', created_at: now() - 4000, last_used: now(), expires_at: now() + 1e6, agent: 'Chromium on Linux', current: true }, { id: 's2', created_at: now() - 90_000, last_used: now() - 7000, expires_at: now() + 1e6, agent: 'Firefox on Android', current: false }], tokens })],
  ['PUT', '/access/password', ({ body }) => { if ((body.password ?? '').length < 10) throw invalid('password', 'has fewer than 10 characters'); }],
  ['DELETE', '/access/sessions/:id', () => undefined],
  ['POST', '/access/tokens', ({ body }) => { const token = { id: `k${tokens.length + 1}`, ...body, created_at: now(), last_used: null }; tokens = [...tokens, token]; return { ...token, token: `mc_${token.id}_0123456789abcdef0123456789abcdef` }; }],
  ['DELETE', '/access/tokens/:id', ({ id }) => void (tokens = tokens.filter((token) => token.id !== id))],
  ['GET', '/node/info', info],
  ['POST', '/node/pairing-code', () => ({ code: (code = '7KQ2-M9XD') })],
  ['GET', '/peers/pending', () => pending.map(({ since, ...one }) => ({ ...one, age_seconds: now() - since }))],
  ['POST', '/peers/pending/:id/:verb', ({ id, verb }) => { const at = pending.findIndex((one) => one.id === id); const [one] = pending.splice(at, 1); send('pairing', { pending }); note(verb, one.name, null, 'ok'); return one; }],
  ['POST', '/peers', async ({ body }) => {
    await wait(700);
    if (!/[.:/]/.test(body.address)) throw invalid('address', 'is not host:port or a multiaddr');
    if (body.address.startsWith('10.')) throw new Refused(409, 'pairing-failed', 'the code is wrong', 'check the code on the other side, and try again');
    if (!body.code) return { state: 'pending', id: '0000000000000001', words: 'gravel harbor indigo jacket kettle lemon' };
    return { state: 'paired', peer: { ...fleet.peer(fleet.rigs[1]), name: body.name ?? 'rig-new' } };
  }],
  ['POST', '/peers/:id/ping', async ({ id }) => { const rig = reachable(id); await wait(100); return { id: rig.id, name: rig.name, round_trip_ms: rig.ping ?? 1 }; }],
  ['PATCH', '/peers/:id', ({ id, body }) => {
    const rig = rigNamed(id);
    if (body.name !== undefined && !/^[\w.-]{1,32}$/.test(body.name)) throw invalid('name', 'has a character that is not allowed: use letters, digits, `.`, `_` and `-`');
    if (body.name !== undefined && fleet.find(body.name)) throw new Refused(409, 'conflict', `a peer is called \`${body.name}\` already`, 'choose another name');
    Object.assign(rig, body);
    fleet.v += 1;
    send('peers', { v: fleet.v, at: now(), changed: { i: [fleet.rigs.indexOf(rig)], ...fleet.columns([rig], MockFleet.FIXED) } });
    return fleet.peer(rig);
  }],
  ['DELETE', '/peers/:id', ({ id }) => { const rig = rigNamed(id); const index = fleet.rigs.indexOf(rig); const gone = { ...rig }; fleet.v += 1; send('peers', { v: fleet.v, at: now(), removed: [index] }); Object.assign(rig, { state: 'gone', removed: true, id: `gone${index}` }); note('remove', gone.name, null, 'ok'); return fleet.peer(gone); }],
  ['GET', '/remote/:id/stats', ({ id }) => fleet.view(rigNamed(id))],
  ['POST', '/remote/:id/start', ({ id, body }) => command('start', id, 'mining', body)],
  ['POST', '/remote/:id/stop', ({ id, body }) => command('stop', id, 'idle', body)],
  ['POST', '/remote/:id/restart', ({ id, body }) => command('restart', id, 'mining', body)],
  ['POST', '/remote/:id/deploy', ({ id, body }) => command('deploy', id, null, body)],
  ['GET', '/remote/:id/logs/:miner', ({ query }) => logs(query)],
  ['GET', '/history', ({ query }) => {
    const sums = new Map();
    for (const rig of fleet.rigs) if (rig.algo && rig.hash) sums.set(rig.algo, (sums.get(rig.algo) ?? 0) + rig.base);
    return history(query, [...sums.keys()].sort(), (which) => [...sums].sort()[which][1]);
  }],
  ['GET', '/history/:id', ({ id, query }) => { const rig = rigNamed(id); return history(query, rig.fate === 'never' || !rig.miners ? [] : [fleet.view(rig).stats.miners[0].name], () => ({ temperature: rig.temp, power: rig.watt })[query.get('measure')] ?? rig.base, rig.temp !== null); }],
  ['GET', '/jobs', () => ({ jobs: [...jobs.values()].reverse().map(summary), total: jobs.size, next: null })],
  ['POST', '/jobs', ({ body }) => beginJob(body)],
  ['GET', '/jobs/:id', ({ id }) => jobNamed(id)],
  ['POST', '/jobs/:id/retry', ({ id }) => beginJob({ ...bodies.get(jobNamed(id).id), rigs: jobNamed(id).rigs.filter(({ state }) => state === 'failed' || state === 'unknown').map(({ id: rig }) => rig) })],
  ['GET', '/profiles', () => [...profiles.values()]],
  ['POST', '/profiles', ({ body }) => { if (profiles.has(body.name)) throw new Refused(409, 'conflict', `profile \`${body.name}\` is there already`, 'look at what is there first'); profiles.set(body.name, checked(body)); return body; }],
  ['GET', '/profiles/:name', ({ name }) => {
    const profile = profiles.get(name);
    if (!profile) throw new Refused(404, 'unknown-profile', `no profile \`${name}\``, 'list profiles with `miner-ctrl profile list`');
    return profile;
  }],
  ['PUT', '/profiles/:name', ({ name, body }) => { profiles.set(name, checked(body)); return body; }],
  ['DELETE', '/profiles/:name', ({ name }) => void profiles.delete(name)],
  ['GET', '/activity', () => ({ entries: activity.slice(0, 100), next: null })],
];

function match(method, path) {
  for (const [wanted, pattern, run] of ROUTES) {
    if (wanted !== method) continue;
    const found = new RegExp(`^${pattern.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`).exec(path);
    if (found) return { run, names: Object.fromEntries(Object.entries(found.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)])) };
  }
  throw new Refused(404, 'not-found', 'Nothing lives at this path', 'check the spelling of the path');
}

async function answer(request, response, url) {
  const path = url.pathname.slice(API.length);
  try {
    if (path !== '/session' && !signedIn) throw new Refused(401, 'sign-in-needed', 'sign in first', 'use the link of `miner-ctrl ui`');
    if (path === '/events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      send('hello', { boot: 'mock', version: options.version, hz: 1 }, response);
      send('snapshot', fleet.snapshot(), response);
      send('pairing', { pending }, response);
      for (const job of jobs.values()) if (job.ended === null) send('job', summary(job), response);
      streams.add(response);
      request.on('close', () => streams.delete(response));
      return;
    }
    let text = '';
    for await (const piece of request) text += piece;
    const { run, names } = match(request.method, path);
    const value = await run({ ...names, query: url.searchParams, body: text ? JSON.parse(text) : {} });
    if (value === undefined) response.writeHead(204).end();
    else response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
  } catch (error) {
    const refused = error instanceof Refused ? error : new Refused(500, 'internal', String(error), 'the mock is broken');
    const document = { type: `urn:miner-ctrl:problem:${refused.code}`, title: refused.message, status: refused.status, detail: refused.message, code: refused.code, hint: refused.hint, request_id: 'mock-1', errors: refused.errors };
    response.writeHead(refused.status, { 'Content-Type': 'application/problem+json' }).end(JSON.stringify(document));
  }
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://mock');
  response.setHeader('Content-Security-Policy', POLICY);
  response.setHeader('X-Content-Type-Options', 'nosniff');
  if (url.pathname.startsWith(`${API}/`)) return void answer(request, response, url);
  const file = normalize(join(DIST, url.pathname === '/' ? 'index.html' : url.pathname));
  if (!file.startsWith(DIST) || !existsSync(file)) return void response.writeHead(404).end();
  response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(response);
});
// Port 0 is any free one; the line says which.
server.listen(Number(options.port), '127.0.0.1', () => console.log(`mock node with ${options.rigs} rigs: http://127.0.0.1:${server.address().port}/`));
