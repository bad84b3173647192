// Sealed, signed, once: docs/protocol.md, section 7.

import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';

import { agree, bytes, sha256, u16, u32, u64, x25519Public } from './identity.mjs';

const VERSION = 1;
const TAG = 16;
const REQUEST_HEADER = 45;
const ANSWER_HEADER = 9;
const PROOF_HEAD = 67;

const hmac = (key, ...parts) => createHmac('sha256', key).update(bytes(...parts)).digest();

/** HKDF-SHA256 (RFC 5869). */
export const extract = (salt, ikm) => hmac(salt, ikm);
export function expand(prk, info, length) {
  let [block, out] = [Buffer.alloc(0), Buffer.alloc(0)];
  for (let count = 1; out.length < length; count += 1) {
    block = hmac(prk, block, info, [count]);
    out = Buffer.concat([out, block]);
  }
  return out.subarray(0, length);
}

/** HPKE's labels (RFC 9180, section 4). */
const labelled = (suite) => ({
  extract: (salt, label, ikm) => extract(salt, bytes('HPKE-v1', suite, label, ikm)),
  expand: (prk, label, info, length) => expand(prk, bytes(u16(length), 'HPKE-v1', suite, label, info), length),
});
const kem = labelled(bytes('KEM', u16(0x0020)));
const hpke = labelled(bytes('HPKE', u16(0x0020), u16(0x0001), u16(0x0003)));

/** The keys of a session, from what both ends agreed on (RFC 9180, sections 4.1 and 5.1, mode Auth). */
function schedule(dh, enc, asker, answerer, nonce, number) {
  const shared = kem.expand(kem.extract('', 'eae_prk', dh), 'shared_secret', bytes(enc, answerer.x25519, asker.x25519), 32);
  const info = bytes('miner-ctrl/smsg/1', asker.key, answerer.key, nonce, u32(number));
  const context = bytes([2], hpke.extract('', 'psk_id_hash', ''), hpke.extract('', 'info_hash', info));
  const secret = hpke.extract(shared, 'secret', '');
  const exporter = hpke.expand(secret, 'exp', context, 32);
  return {
    number,
    enc,
    shared,
    requests: { key: hpke.expand(secret, 'key', context, 32), nonce: hpke.expand(secret, 'base_nonce', context, 12) },
    answers: { key: hpke.expand(exporter, 'sec', 'miner-ctrl smsg 1 answer key', 32), nonce: hpke.expand(exporter, 'sec', 'miner-ctrl smsg 1 answer nonce', 12) },
  };
}

export function begin(asker, answerer, nonce, number, ephemeral = randomBytes(32)) {
  const dh = bytes(agree(ephemeral, answerer.x25519), agree(asker.x25519Secret, answerer.x25519));
  return schedule(dh, x25519Public(ephemeral), asker, answerer, nonce, number);
}

export function join(asker, answerer, nonce, number, enc) {
  const dh = bytes(agree(answerer.x25519Secret, enc), agree(answerer.x25519Secret, asker.x25519));
  return schedule(dh, enc, asker, answerer, nonce, number);
}

function nonceOf(cipher, seq) {
  const place = bytes(u32(0), u64(seq));
  return cipher.nonce.map((byte, at) => byte ^ place[at]);
}

function encrypt(cipher, seq, aad, plain) {
  const box = createCipheriv('chacha20-poly1305', cipher.key, nonceOf(cipher, seq), { authTagLength: TAG });
  box.setAAD(aad, { plaintextLength: plain.length });
  return bytes(box.update(plain), box.final(), box.getAuthTag());
}

function decrypt(cipher, seq, aad, sealed) {
  const box = createDecipheriv('chacha20-poly1305', cipher.key, nonceOf(cipher, seq), { authTagLength: TAG });
  box.setAAD(aad, { plaintextLength: sealed.length - TAG });
  box.setAuthTag(sealed.subarray(-TAG));
  return bytes(box.update(sealed.subarray(0, -TAG)), box.final());
}

/** What stands for a message in a batch. */
const leaf = (domain, author, addressee, enc, seq, body) => sha256([0], domain, author.key, addressee.key, enc, u64(seq), body);
const requestLeaf = (...parts) => leaf('miner-ctrl smsg 1 request\0', ...parts);
const answerLeaf = (...parts) => leaf('miner-ctrl smsg 1 answer\0\0', ...parts);
const parent = (left, right) => sha256([1], left, right);
const statement = (root) => bytes('miner-ctrl smsg 1 signed\0', root);

/** One signature for all leaves; a proof for each. */
export function batch(author, leaves) {
  let level = [...leaves];
  while (!Number.isInteger(Math.log2(level.length))) level.push(Buffer.alloc(32));
  const paths = leaves.map(() => []);
  for (let depth = 0; level.length > 1; depth += 1) {
    const below = level;
    paths.forEach((path, index) => path.push(below[(index >> depth) ^ 1]));
    level = below.filter((_, at) => at % 2 === 0).map((left, at) => parent(left, below[2 * at + 1]));
  }
  const signature = author.sign(statement(level[0]));
  return paths.map((path, index) => bytes(signature, [path.length], u16(index), ...path));
}

/** The body behind a proof that its author signed this leaf. */
function proven(author, plain, leafOf) {
  const [depth, index] = [plain[64], plain.readUInt16BE(65)];
  const body = plain.subarray(PROOF_HEAD + 32 * depth);
  let root = leafOf(body);
  for (let level = 0; level < depth; level += 1) {
    const beside = plain.subarray(PROOF_HEAD + 32 * level, PROOF_HEAD + 32 * (level + 1));
    root = (index >> level) & 1 ? parent(beside, root) : parent(root, beside);
  }
  if (index >> depth !== 0 || !author.signed(statement(root), plain.subarray(0, 64))) throw new Error('a wrong signature');
  return body;
}

/** The asking end of a link. */
export class Sender {
  #number = 0;
  #seq = 0;
  #session;

  constructor(us, peer, nonce) {
    Object.assign(this, { us, peer });
    this.#session = begin(us, peer, nonce, 0);
  }

  /** Begins the next session, for the nonce that the peer told. */
  renew(nonce) {
    this.#number += 1;
    this.#seq = 0;
    this.#session = begin(this.us, this.peer, nonce, this.#number);
  }

  /** Several bodies, sealed under one signature; `signer` is somebody else where a test wants a forgery. */
  seal(bodies, signer = this.us) {
    const session = this.#session;
    const numbered = bodies.map((body) => ({ body, seq: this.#seq++ }));
    const proofs = batch(signer, numbered.map(({ body, seq }) => requestLeaf(this.us, this.peer, session.enc, seq, body)));
    return numbered.map(({ body, seq }, at) => {
      const header = bytes([VERSION], u32(session.number), session.enc, u64(seq));
      return { sealed: bytes(header, encrypt(session.requests, seq, header, bytes(proofs[at], body))), open: (answer) => this.#open(session, seq, answer) };
    });
  }

  #open(session, seq, sealed) {
    const header = sealed.subarray(0, ANSWER_HEADER);
    if (header[0] !== VERSION || header.readBigUInt64BE(1) !== BigInt(seq)) throw new Error('an answer to something else');
    const plain = decrypt(session.answers, seq, bytes(header, session.enc), sealed.subarray(ANSWER_HEADER));
    return proven(this.peer, plain, (body) => answerLeaf(this.peer, this.us, session.enc, seq, body));
  }
}

/** The answering end of a link. Unlike a real node it keeps every session, and every `seq`. */
export class Receiver {
  #sessions = new Map();
  #seen = new Set();

  constructor(us, peer, nonce) {
    Object.assign(this, { us, peer, nonce });
  }

  open(sealed) {
    const header = sealed.subarray(0, REQUEST_HEADER);
    const [number, enc, seq] = [header.readUInt32BE(1), header.subarray(5, 37), header.readBigUInt64BE(37)];
    if (header[0] !== VERSION || this.#seen.has(`${number} ${seq}`)) throw new Error('another version, or seen before');
    const session = this.#sessions.get(number) ?? join(this.peer, this.us, this.nonce, number, enc);
    const plain = decrypt(session.requests, seq, header, sealed.subarray(REQUEST_HEADER));
    const body = proven(this.peer, plain, (claimed) => requestLeaf(this.peer, this.us, enc, seq, claimed));
    this.#sessions.set(number, session);
    this.#seen.add(`${number} ${seq}`);
    return { body, answer: (answer) => this.#seal(session, seq, answer) };
  }

  #seal(session, seq, body) {
    const header = bytes([VERSION], u64(seq));
    const [proof] = batch(this.us, [answerLeaf(this.us, this.peer, session.enc, seq, body)]);
    return bytes(header, encrypt(session.answers, seq, bytes(header, session.enc), bytes(proof, body)));
  }
}
