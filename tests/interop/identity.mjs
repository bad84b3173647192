// A node's keys, as docs/protocol.md derives them (section 1).

import { createHash, createPrivateKey, createPublicKey, diffieHellman, randomBytes, sign } from 'node:crypto';

import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { ed25519 } from '@noble/curves/ed25519.js';

/** What stands before the 32 bytes of a key in DER (RFC 8410). */
const DER = {
  ed25519Secret: '302e020100300506032b657004220420',
  x25519Secret: '302e020100300506032b656e04220420',
  x25519Public: '302a300506032b656e032100',
};

export const bytes = (...parts) => Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part))));
export const sha256 = (...parts) => createHash('sha256').update(bytes(...parts)).digest();

export const u16 = (number) => {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16BE(number);
  return buffer;
};
export const u32 = (number) => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(number);
  return buffer;
};
export const u64 = (number) => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64BE(BigInt(number));
  return buffer;
};

const secretKey = (der, secret) => createPrivateKey({ key: Buffer.concat([Buffer.from(der, 'hex'), secret]), format: 'der', type: 'pkcs8' });

/** X25519 (RFC 7748). */
export function agree(secret, point) {
  const publicKey = createPublicKey({ key: Buffer.concat([Buffer.from(DER.x25519Public, 'hex'), point]), format: 'der', type: 'spki' });
  return diffieHellman({ privateKey: secretKey(DER.x25519Secret, secret), publicKey });
}

export const x25519Public = (secret) => createPublicKey(secretKey(DER.x25519Secret, secret)).export({ format: 'der', type: 'spki' }).subarray(-32);

/** What everybody knows of a node, from its peer key. */
export class Peer {
  constructor(key) {
    this.key = Buffer.from(key);
    this.x25519 = Buffer.from(ed25519.utils.toMontgomery(this.key));
    this.nodeId = sha256(this.x25519).subarray(0, 8).toString('hex');
  }

  /** Strictly (section 7), which the library calls not ZIP 215. */
  signed(message, signature) {
    return ed25519.verify(signature, message, this.key, { zip215: false });
  }
}

/** A node with its secret. */
export class Identity extends Peer {
  #signing;

  static async make(seed = randomBytes(32)) {
    return new Identity(seed, await generateKeyPairFromSeed('Ed25519', seed));
  }

  constructor(seed, privateKey) {
    super(privateKey.publicKey.raw);
    this.privateKey = privateKey;
    this.peerId = peerIdFromPrivateKey(privateKey).toString();
    this.x25519Secret = createHash('sha512').update(seed).digest().subarray(0, 32);
    this.#signing = secretKey(DER.ed25519Secret, seed);
  }

  sign(message) {
    return sign(null, message, this.#signing);
  }
}
