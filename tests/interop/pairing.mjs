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

/** Big endian, modulo the group's order. */
export const number = (big) => BigInt(`0x${Buffer.from(big).toString('hex')}`) % ORDER;

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

/** The adder's side of SPAKE2 with the scalar x: its message, and from the shower's message what either side confirms with. */
export function adder(adderKey, showerKey, code, x) {
  const password = Buffer.from(code.toUpperCase().replace(/[ -]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1'));
  const pw = number(expand(extract('', password), 'SPAKE2 pw', 48));
  const message = bytes('A', Point.BASE.multiply(x).add(M.multiply(pw)).toBytes());
  const confirmations = (theirs) => {
    const K = Point.fromBytes(theirs.subarray(1)).subtract(N.multiply(pw)).multiply(x).toBytes();
    const key = sha256(sha256(password), sha256(adderKey), sha256(showerKey), message.subarray(1), theirs.subarray(1), K);
    const transcript = bytes('miner-ctrl pairing 1 transcript\0', adderKey, showerKey, message, theirs);
    const mac = (label) => {
      const said = bytes(label, transcript);
      return createHmac('sha256', expand(extract('', key), said, 32)).update(said).digest();
    };
    return { ours: mac('miner-ctrl pairing 1 adder confirms\0'), theirs: mac('miner-ctrl pairing 1 shower confirms\0') };
  };
  return { message, confirmations };
}

/** Proves the code to the shower, and takes its proof of it; gives its last reply. */
export async function byCode(talk, us, identity, shower, code) {
  const { message, confirmations } = adder(identity.key, shower.key, code, number(randomBytes(64)));
  talk.say(greeting(us, { Code: { message } }));
  const reply = await talk.hear();
  if (!reply.Code) return reply;
  const { ours, theirs } = confirmations(Buffer.from(reply.Code.message));
  talk.say({ mac: ours });
  const last = await talk.hear();
  if (last.Paired && !theirs.equals(Buffer.from(last.Paired.mac))) throw new Error('it does not know the code');
  return last;
}
