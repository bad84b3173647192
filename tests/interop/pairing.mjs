// Pairing by code as the adder: docs/protocol.md, section 5.

import { createHmac, randomBytes } from 'node:crypto';

import { ed25519 } from '@noble/curves/ed25519.js';
import { decode, encode } from 'cborg';

import { bytes, sha256, u16 } from './identity.mjs';
import { expand, extract } from './smsg.mjs';

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;
const M = Point.fromHex('15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312');
const N = Point.fromHex('f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3');

const number = (big) => BigInt(`0x${Buffer.from(big).toString('hex')}`) % ORDER;

/** Messages of `length u16 ‖ CBOR` over a stream's bytes. */
export class Talk {
  constructor(reader, write) {
    Object.assign(this, { reader, write });
  }

  say(message) {
    const cbor = encode(message);
    this.write(bytes(u16(cbor.length), cbor));
  }

  async hear() {
    const length = (await this.reader.take(2)).readUInt16BE(0);
    return decode(await this.reader.take(length));
  }
}

const greeting = (us, door) => ({ versions: [1], name: us.name, role: us.role, door });

export async function byApproval(talk, us) {
  talk.say(greeting(us, 'Approval'));
  return talk.hear();
}

/** Proves the code to the shower, and takes its proof of it; gives its last reply. */
export async function byCode(talk, us, identity, shower, code) {
  const password = Buffer.from(code.toUpperCase().replace(/[ -]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1'));
  const pw = number(expand(extract('', password), 'SPAKE2 pw', 48));
  const x = number(randomBytes(64));
  const X = bytes('A', Point.BASE.multiply(x).add(M.multiply(pw)).toBytes());
  talk.say(greeting(us, { Code: { message: X } }));
  const reply = await talk.hear();
  if (!reply.Code) return reply;

  const Y = Buffer.from(reply.Code.message);
  const K = Point.fromBytes(Y.subarray(1)).subtract(N.multiply(pw)).multiply(x).toBytes();
  const key = sha256(sha256(password), sha256(identity.key), sha256(shower.key), X.subarray(1), Y.subarray(1), K);
  const transcript = bytes('miner-ctrl pairing 1 transcript\0', identity.key, shower.key, X, Y);
  const mac = (label) => {
    const said = bytes(label, transcript);
    return createHmac('sha256', expand(extract('', key), said, 32)).update(said).digest();
  };
  talk.say({ mac: mac('miner-ctrl pairing 1 adder confirms\0') });
  const last = await talk.hear();
  if (last.Paired && !mac('miner-ctrl pairing 1 shower confirms\0').equals(Buffer.from(last.Paired.mac))) throw new Error('it does not know the code');
  return last;
}
