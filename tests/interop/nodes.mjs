// A real node, a process in a home of its own, and a foreign one: js-libp2p. MINER_CTRL names the program.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { identify } from '@libp2p/identify';
import { peerIdFromString } from '@libp2p/peer-id';
import { ping } from '@libp2p/ping';
import { webSockets } from '@libp2p/websockets';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';

import { Peer } from './identity.mjs';
import { Link, Reader } from './link.mjs';
import { Talk } from './pairing.mjs';

const PROGRAM = process.env.MINER_CTRL;
const run = promisify(execFile);

export const RPC = '/miner-ctrl/rpc/1';
export const PAIR = '/miner-ctrl/pair/1';

/** A debug build on a busy machine takes its time. */
const LATE_MS = 60_000;

/** Nodes that run: when a file's time is over its tests end without a word to what they started. They stop their miners. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGTERM')));
process.once('SIGTERM', () => process.exit(1));

/** What a real node prints when it is started, and its command line. */
export class RealNode {
  static async start(test, name, role, ...options) {
    const node = new RealNode();
    Object.assign(node, { name, home: await mkdtemp(join(tmpdir(), 'interop-')), text: '' });
    await node.cli('node', 'init', '--name', name, '--role', role);
    node.child = spawn(PROGRAM, ['--home', node.home, 'node', 'serve', '--listen', '127.0.0.1:0', '--no-dashboard', '--simulate', ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(node.child);
    node.child.once('exit', () => running.delete(node.child));
    for (const pipe of [node.child.stdout, node.child.stderr]) pipe.on('data', (piece) => (node.text += piece));
    test.after(() => node.stop());
    node.address = await node.says('listening');
    node.peer = new Peer(peerIdFromString(node.address.split('/p2p/')[1]).publicKey.raw);
    return node;
  }

  async cli(...words) {
    const { stdout } = await run(PROGRAM, ['--home', this.home, ...words]);
    return stdout;
  }

  /** Waits for a line `word: …` of the greeting; gives what stands behind it. */
  async says(word) {
    const line = new RegExp(`^\\s*${word}: +(\\S.*)$`, 'm');
    const late = AbortSignal.timeout(LATE_MS);
    for (;;) {
      const found = line.exec(this.text)?.[1];
      if (found) return found;
      await Promise.race([once(this.child.stdout, 'data', { signal: late }), once(this.child, 'exit', { signal: late })]);
      if (this.child.exitCode !== null) throw new Error(`${this.name} ended: ${this.text}`);
    }
  }

  /** What `peer list` says of a peer, once it says so. */
  async sees(name, is) {
    const until = Date.now() + LATE_MS;
    for (;;) {
      const peer = JSON.parse(await this.cli('peer', 'list', '-o', 'json')).find((found) => found.name === name);
      if (peer && is(peer)) return peer;
      if (Date.now() > until) throw new Error(`not seen: ${JSON.stringify(peer)}\n${this.text}`);
    }
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      await ended;
    }
    await rm(this.home, { recursive: true, force: true });
    if (/panicked/.test(this.text)) throw new Error(this.text);
  }
}

/** A foreign node: its libp2p, and what it does with the streams of our protocols. */
export class ForeignNode {
  static async start(test, identity, { listens = true, privateKey = identity.privateKey, serves = {} } = {}) {
    const node = new ForeignNode();
    node.identity = identity;
    node.libp2p = await createLibp2p({
      privateKey,
      addresses: { listen: listens ? ['/ip4/127.0.0.1/tcp/0/ws'] : [] },
      transports: [webSockets()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: { identify: identify(), ping: ping() },
    });
    test.after(() => node.libp2p.stop());
    for (const [protocol, serve] of Object.entries(serves)) {
      await node.libp2p.handle(protocol, (stream, connection) => serve(stream, new Peer(connection.remotePeer.publicKey.raw)));
    }
    return node;
  }

  get address() {
    return this.libp2p.getMultiaddrs()[0].toString();
  }

  dial(real) {
    // Not one that is there still, and may be about to close.
    return this.libp2p.dial(multiaddr(real.address), { force: true, signal: AbortSignal.timeout(LATE_MS) });
  }

  /** A conversation about pairing, on a connection of its own. */
  async talk(real, converse) {
    const connection = await this.dial(real);
    try {
      const stream = await connection.newStream(PAIR);
      return await converse(new Talk(new Reader(stream), (message) => stream.send(message)));
    } finally {
      await connection.close();
    }
  }

  async link(real, options = {}) {
    const connection = await this.dial(real);
    const stream = await connection.newStream(RPC);
    const link = await Link.up(stream, this.identity, real.peer, { dialer: true, ...options });
    return Object.assign(link, { connection });
  }
}
