// A node of another implementation and real nodes: everything it says was written from docs/protocol.md.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { generateKeyPair } from '@libp2p/crypto/keys';

import { Identity } from './identity.mjs';
import { Kind, Link, Reader } from './link.mjs';
import { ForeignNode, PAIR, RealNode, RPC } from './nodes.mjs';
import { byApproval, byCode, Talk } from './pairing.mjs';

const DESK = { name: 'foreign-desk', role: 'controller' };
const PROFILE = { name: 'small', program: 'xmrig', algorithm: 'rx/0', pools: [{ url: 'pool.example:3333', tls: false }], wallet: 'WALLET' };

/** A real rig and a foreign controller that is paired with it by the code that the rig shows. */
async function pair(t) {
  const rig = await RealNode.start(t, 'rig-alpha', 'worker');
  const identity = await Identity.make();
  const desk = await ForeignNode.start(t, identity, { listens: false });
  const code = await rig.says('pairing code');
  const reply = await desk.talk(rig, (talk) => byCode(talk, DESK, identity, rig.peer, code));
  assert.deepEqual([reply.Paired.name, reply.Paired.role], ['rig-alpha', 'worker']);
  return { rig, desk };
}

test('a foreign controller pairs by code, and commands a rig', async (t) => {
  const { rig, desk } = await pair(t);
  const link = await desk.link(rig, { hello: DESK });
  assert.deepEqual([link.hello.name, link.hello.role, link.hello.node_id], ['rig-alpha', 'worker', rig.peer.nodeId]);
  await rig.sees('foreign-desk', (peer) => peer.online && peer.permission === 'control');

  assert.deepEqual(await link.ask({ Ping: { sent_at: 7 } }), { Pong: { sent_at: 7 } });
  const started = await link.ask({ StartMiner: { profile: { Inline: PROFILE }, miner: null } });
  assert.equal(started.Miner.changed, true, JSON.stringify(started));
  const name = started.Miner.status.name;
  let stats = (await link.ask('Stats')).Stats;
  while (stats.miners[0].state !== 'mining') stats = (await link.ask({ Watch: { after: stats.revision, wait: 30 } })).Stats;
  assert.equal(stats.name, 'rig-alpha');
  assert.ok((await link.ask({ Logs: { miner: name, lines: 10, after: null, wait: 30 } })).Logs.lines.length > 0);

  // Five requests under one signature; the first start finds it running, and the stop of it is done once.
  const stop = { StopMiner: { miner: { Named: name } } };
  const together = await link.askTogether({ Ping: { sent_at: 1 } }, 'Policy', 'Profiles', 'Stats', { History: { since: 0, step: 60 } });
  assert.deepEqual(together.map((answer) => Object.keys(answer)[0]), ['Pong', 'Policy', 'Profiles', 'Stats', 'History']);
  assert.equal((await link.ask({ StartMiner: { profile: { Inline: PROFILE }, miner: name } })).Miner.changed, false);
  assert.deepEqual([(await link.ask(stop)).Miners.changed, (await link.ask(stop)).Miners.changed], [true, false]);
});

test('the libraries measure each other and tell who they are', async (t) => {
  const { rig, desk } = await pair(t);
  const link = await desk.link(rig, { hello: DESK });
  // It throws when what it sent does not come back; milliseconds, none on a fast machine.
  assert.ok((await desk.libp2p.services.ping.ping(link.connection.remotePeer)) < 5000);
  const { protocolVersion, agentVersion } = await desk.libp2p.services.identify.identify(link.connection);
  assert.match(`${protocolVersion} ${agentVersion}`, /^\/miner-ctrl\/1 miner-ctrl\/\d/);
  assert.deepEqual(await link.ask({ Ping: { sent_at: 1 } }), { Pong: { sent_at: 1 } });
  // From 10 s after the connection's beginning the rig asks, too.
  await rig.sees('foreign-desk', (peer) => peer.ping_ms !== null);
});

test('what the page refuses is refused, and the link goes on', async (t) => {
  const { rig, desk } = await pair(t);
  const link = await desk.link(rig, { hello: DESK });
  const [message] = link.seal(['Stats']);
  assert.ok((await link.tell(message)).Stats);
  assert.deepEqual(await link.tell(message), { Unopened: 'Replayed' });
  const [forged] = link.seal(['Stats'], await Identity.make());
  assert.deepEqual(await link.tell(forged), { Unopened: 'Unreadable' });
  const [altered] = link.seal(['Stats']);
  altered.sealed[60] ^= 1;
  assert.deepEqual(await link.tell(altered), { Unopened: 'Unreadable' });
  const [versioned] = link.seal(['Stats']);
  versioned.sealed[0] = 2;
  assert.deepEqual(await link.tell(versioned), { Unopened: 'Unsupported' });
  assert.deepEqual(await link.ask('Dance'), { Refused: 'Unsupported' });
  assert.deepEqual(await link.ask({ Ping: { sent_at: 'noon' } }), { Refused: 'Unreadable' });
  assert.deepEqual(await link.ask({ StartMiner: { profile: { Stored: 'none' }, miner: null } }), { Refused: { UnknownProfile: { name: 'none' } } });

  // For another nonce than the rig's: it tells the right one, for which the next session is.
  link.renew(Buffer.alloc(16));
  const stale = await link.ask('Stats');
  assert.deepEqual(Buffer.from(stale.Unopened.Stale.nonce), Buffer.from(link.hello.nonce));
  link.renew(stale.Unopened.Stale.nonce);
  assert.ok((await link.ask('Stats')).Stats);

  // More at once than may be open: some are refused, none is lost, and the next is answered.
  const many = await Promise.all(Array.from({ length: 600 }, () => link.ask({ Ping: { sent_at: 1 } })));
  const busy = many.filter((answer) => answer.Unopened?.Busy).length;
  assert.ok(busy > 0 && busy < 600 && many.every((answer) => answer.Pong || answer.Unopened?.Busy), `${busy}`);
});

test('a frame that makes no sense ends the link, and the next link serves', async (t) => {
  const { rig, desk } = await pair(t);
  for (const spoil of [(link) => link.send(9, 0), (link) => link.send(Kind.Hello, 0), (link) => link.stream.send(Buffer.from('ffffffff01', 'hex')), (link) => link.send(Kind.Beat, 0, Buffer.from('x'))]) {
    const link = await desk.link(rig, { hello: DESK });
    spoil(link);
    assert.ok((await link.ended) instanceof Error);
  }
  for (const hello of [{ node_id: '0'.repeat(16) }, { versions: [2, 3] }, { name: '-' }]) {
    // It may end before its own greeting is here.
    const end = await desk.link(rig, { hello: { ...DESK, ...hello } }).then((up) => up.ended, (error) => error);
    assert.ok(end instanceof Error);
  }
  const link = await desk.link(rig, { hello: DESK });
  assert.ok((await link.ask('Stats')).Stats);
});

test('a foreign node that comes back takes the place of its lost connection', async (t) => {
  const { rig, desk } = await pair(t);
  const lost = await desk.link(rig, { hello: DESK });
  const again = await ForeignNode.start(t, desk.identity, { listens: false });
  const link = await again.link(rig, { hello: DESK });
  assert.ok((await link.ask('Stats')).Stats);
  assert.ok((await lost.ended) instanceof Error, 'the newer one wins');
  assert.ok((await link.ask('Stats')).Stats);
});

test('wrong codes are counted, and a stranger gets no link', async (t) => {
  const rig = await RealNode.start(t, 'rig-alpha', 'worker');
  const identity = await Identity.make();
  const desk = await ForeignNode.start(t, identity, { listens: false });
  await assert.rejects(desk.link(rig, { hello: DESK }));
  const attempt = (code) => desk.talk(rig, (talk) => byCode(talk, DESK, identity, rig.peer, code));
  const right = await rig.says('pairing code');
  const wrong = right.startsWith('0') ? right.replace('0', '2') : right.replace(/^./, '0');
  for (let count = 0; count < 3; count += 1) assert.deepEqual(await attempt(wrong), { Refused: 'WrongCode' });
  assert.deepEqual(await attempt(right), { Refused: 'NoCode' }, 'three burn it');
  assert.equal(await desk.talk(rig, (talk) => byApproval(talk, DESK)), 'Pending');
  await rig.cli('peer', 'approve', identity.nodeId);
  assert.equal((await desk.talk(rig, (talk) => byApproval(talk, DESK))).Paired.mac, null);
  const link = await desk.link(rig, { hello: DESK });
  assert.ok((await link.ask('Stats')).Stats);
});

test('a key of another kind is turned away', async (t) => {
  const rig = await RealNode.start(t, 'rig-alpha', 'worker');
  for (const kind of ['secp256k1', 'RSA']) {
    const desk = await ForeignNode.start(t, await Identity.make(), { listens: false, privateKey: await generateKeyPair(kind) });
    await assert.rejects(desk.talk(rig, (talk) => byApproval(talk, DESK)), kind);
  }
  const desk = await ForeignNode.start(t, await Identity.make(), { listens: false });
  assert.equal(await desk.talk(rig, (talk) => byApproval(talk, DESK)), 'Pending');
});

test('a real controller pairs with a foreign rig, shows what it says, and commands it', async (t) => {
  const desk = await RealNode.start(t, 'desk', 'controller');
  const identity = await Identity.make();
  const asked = [];
  let spoilt = false;
  const miner = { name: 'xmrig-1', program: 'xmrig', profile: 'small', state: 'mining', state_seconds: 60, uptime_seconds: 60, hashrate: 1234.5, hashrates: [1234.5, 1234.5, null], shares: { accepted: 3, rejected: 0 }, algorithm: 'rx/0', pool: 'pool.example:3333', version: '6.22.2' };
  const host = { os: 'Plan 9', cpu: 'a loom', threads: 2, load: 0.5, memory_total: 2 ** 30, memory_available: 2 ** 29, uptime_seconds: 600 };
  const answers = (request) => {
    const [name] = typeof request === 'string' ? [request] : Object.keys(request);
    asked.push(name);
    if (name === 'Ping') return { Pong: request.Ping };
    if (name === 'StopMiner') return { Miners: { statuses: [{ ...miner, state: 'stopped', hashrate: null }], changed: true } };
    if (spoilt) return { Stats: { miners: 'many' } };
    if (name === 'Stats' || name === 'Watch') return { Stats: { revision: 1, name: 'loom', version: '1', host, miners: [miner] } };
    return { Refused: 'Unsupported' };
  };
  const links = [];
  const rig = await ForeignNode.start(t, identity, {
    serves: {
      [PAIR]: async (stream) => {
        const talk = new Talk(new Reader(stream), (message) => stream.send(message));
        assert.equal((await talk.hear()).door, 'Approval');
        talk.say({ Paired: { name: 'loom', role: 'worker', mac: null } });
      },
      [RPC]: async (stream, peer) => links.push(await Link.up(stream, identity, peer, { hello: { name: 'loom', role: 'worker' }, answers })),
    },
  });
  await desk.cli('peer', 'add', '--address', rig.address);
  await desk.sees('loom', (peer) => peer.online && peer.role === 'worker');
  assert.equal(links.length, 1);
  const { hashrate, stats } = JSON.parse(await desk.cli('remote', 'status', 'loom', '-o', 'json'));
  assert.deepEqual([hashrate, stats.host.os, stats.host.load, stats.miners[0].state], [1234.5, 'Plan 9', 0.5, 'mining']);
  const stopped = JSON.parse(await desk.cli('remote', 'stop', 'loom', '--all', '-o', 'json'));
  assert.match(JSON.stringify(stopped), /stopped/);
  assert.ok(asked.includes('StopMiner'));
  assert.deepEqual(await links[0].ask('Stats'), { Refused: { NotAllowed: { needs: 'view', granted: 'none' } } }, 'a rig may ask nothing');

  // What cannot be read is told, and what was said before is not shown as if it were said now.
  spoilt = true;
  let shown = {};
  while (!shown.problem?.includes('cannot be read') || shown.age_seconds < 1) shown = JSON.parse(await desk.cli('remote', 'status', 'loom', '-o', 'json'));
  assert.equal(shown.peer.online, true);
  await assert.rejects(desk.cli('remote', 'logs', 'loom', 'xmrig-1', '-o', 'json'), ({ code, stderr }) => code === 6 && JSON.parse(stderr).code === 'bad-answer');
});
