// What docs/protocol.md prints in section 11, and the bytes in protocol/tests/golden: another implementation makes the same.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Identity } from './identity.mjs';
import { adder, number } from './pairing.mjs';
import { begin, join, Receiver } from './smsg.mjs';

const NONCE = Buffer.from('090a0b0c0d0e0f101112131415161718', 'hex');
const EPHEMERAL = Buffer.from(Array.from({ length: 32 }, (_, at) => 0x40 + at));
const [asker, answerer] = await Promise.all([1, 2].map((byte) => Identity.make(Buffer.alloc(32, byte))));
const golden = (file) => readFileSync(new URL(`../../protocol/tests/golden/${file}`, import.meta.url), 'utf8').trim().split('\n').map((line) => line.split(' '));
const lines = golden('sealed.hex');
const sealed = (kind) => lines.filter(([found]) => found === kind).map(([, hex]) => Buffer.from(hex, 'hex'));

test('keys follow from the seed', () => {
  assert.equal(asker.key.toString('hex'), '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c');
  assert.equal(asker.x25519.toString('hex'), '1b1b58dd50ea14b60da17b790cd02754d970c9bab864ebb3c0f3016fe51d3f57');
  assert.equal(asker.nodeId, 'd06d966c0744a06b');
  assert.equal(asker.peerId, '12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5');
});

test('both ends agree on the keys of a session', () => {
  const session = begin(asker, answerer, NONCE, 0, EPHEMERAL);
  assert.equal(session.enc.toString('hex'), '79a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a');
  assert.equal(session.shared.toString('hex'), 'f6ba2d772ee861c8cd92b292e1dfcbfc17cd01bbf302f5bb7db9f2d84bd3dc4f');
  assert.equal(session.requests.key.toString('hex'), '2645fe880bf160b489f15b573185ce23821fd2c9aac09d200f8330163e1a38fb');
  assert.equal(session.requests.nonce.toString('hex'), 'f01b25c2bdaec74543b66b92');
  assert.equal(session.answers.key.toString('hex'), '2a77b751e601e12b958dc860903c1c551b089410003c59dd2d0a5b3dc91b6b9d');
  assert.equal(session.answers.nonce.toString('hex'), 'f53bc2c224a129cac9cbcd8a');
  assert.deepEqual(join(asker, answerer, NONCE, 0, session.enc), session);
});

test('the recorded requests open, and the answers come out byte for byte', () => {
  const receiver = new Receiver(answerer, asker, NONCE);
  const opened = sealed('sealed-request').map((message) => receiver.open(message));
  assert.deepEqual(opened.map(({ body }) => body.toString()), ['a request', 'a second of the same session']);
  assert.deepEqual(opened.map(({ answer }) => answer(Buffer.from('its answer'))), sealed('sealed-answer'));
  const batch = sealed('sealed-of-a-batch').map((message) => receiver.open(message).body.toString());
  assert.deepEqual(batch, ['one', 'two', 'three']);
});

test('one bit makes a message another', () => {
  const [message] = sealed('sealed-request');
  for (let bit = 0; bit < 8 * message.length; bit += 1) {
    const altered = Buffer.from(message);
    altered[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(() => new Receiver(answerer, asker, NONCE).open(altered), `${bit}`);
  }
});

test('the adder of the recorded pairing says and expects the same', () => {
  const recorded = Object.fromEntries(golden('pairing.hex').map(([name, hex]) => [name, Buffer.from(hex, 'hex')]));
  // Bytes 40 to 7f, little endian.
  const x = number(Buffer.from(Array.from({ length: 64 }, (_, at) => 0x7f - at)));
  const { message, confirmations } = adder(asker.key, answerer.key, '7kq2-m9xd', x);
  assert.deepEqual(message, recorded['adder-message']);
  const { ours, theirs } = confirmations(recorded['shower-message']);
  assert.deepEqual(ours, recorded['adder-confirms']);
  assert.deepEqual(theirs, recorded['shower-confirms']);
});
