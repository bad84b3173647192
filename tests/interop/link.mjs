// The link's frames, greeting and heartbeat: docs/protocol.md, section 6.

import { randomBytes } from 'node:crypto';

import { decode, encode } from 'cborg';

import { bytes, u32, u64 } from './identity.mjs';
import { Receiver, Sender } from './smsg.mjs';

export const Kind = { Hello: 0, Request: 1, Answer: 2, Refused: 3, Beat: 4 };

/** How often the dialer looks whether it has heard anything for so long. */
const BEAT_MS = 6000;

/** Bytes of a stream, as many as are asked for. */
export class Reader {
  #chunks;
  #rest = Buffer.alloc(0);

  constructor(stream) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  async take(length) {
    while (this.#rest.length < length) {
      const { done, value } = await this.#chunks.next();
      if (done) throw new Error('the stream ended');
      this.#rest = Buffer.concat([this.#rest, value.subarray()]);
    }
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }
}

/** A link that is up, from either end. */
export class Link {
  #asked = new Map();
  #nextId = 0;
  #sender;
  #receiver;
  /** A Beat of ours is out. */
  #beating = false;

  /** Greets and hears the greeting. `answers` makes a response of a request; a real node refuses what it does not do. */
  static async up(stream, identity, peer, { hello = {}, dialer, answers = () => ({ Refused: 'Unsupported' }) }) {
    const link = new Link();
    Object.assign(link, { stream, reader: new Reader(stream), answers, dialer });
    const nonce = randomBytes(16);
    link.send(Kind.Hello, 0, encode({ versions: [1], node_id: identity.nodeId, name: 'foreign', role: 'dual', nonce, agent: 'js', features: [], ...hello }));
    const first = await link.frame();
    if (first.kind !== Kind.Hello) throw new Error(`kind ${first.kind} in place of Hello`);
    link.hello = decode(first.payload);
    link.#sender = new Sender(identity, peer, Buffer.from(link.hello.nonce));
    link.#receiver = new Receiver(identity, peer, nonce);
    const asks = () => {
      if (!link.#beating) link.send(Kind.Beat, 0);
      link.#beating = true;
    };
    if (dialer) asks();
    const beat = dialer && setInterval(asks, BEAT_MS);
    link.ended = link.#serve()
      .catch((error) => error)
      .then((why) => {
        clearInterval(beat);
        for (const { reject } of link.#asked.values()) reject(why);
        return why;
      });
    return link;
  }

  send(kind, id, payload = Buffer.alloc(0)) {
    this.stream.send(bytes(u32(9 + payload.length), [kind], u64(id), payload));
  }

  async frame() {
    const length = (await this.reader.take(4)).readUInt32BE(0);
    const frame = await this.reader.take(length);
    return { kind: frame[0], id: frame.readBigUInt64BE(1), payload: frame.subarray(9) };
  }

  async #serve() {
    for (;;) {
      const { kind, id, payload } = await this.frame();
      const asked = this.#asked.get(id);
      // Who dialled asks with 0 and says with 2 that the answer came; the other side answers with 1.
      if (kind === Kind.Beat && this.dialer && this.#beating) {
        this.#beating = false;
        this.send(Kind.Beat, 2);
      } else if (kind === Kind.Beat && !this.dialer && id !== 2n) this.send(Kind.Beat, 1);
      if (kind === Kind.Request) {
        const { body, answer } = this.#receiver.open(payload);
        this.send(Kind.Answer, id, answer(encode(await this.answers(decode(body)))));
      }
      if (kind === Kind.Answer || kind === Kind.Refused) this.#asked.delete(id);
      if (kind === Kind.Answer) asked?.resolve(decode(asked.open(payload)));
      if (kind === Kind.Refused) asked?.resolve({ Unopened: decode(payload) });
    }
  }

  /** Sends sealed bytes, and gives what is said to them. */
  tell({ sealed, open }) {
    const id = BigInt(this.#nextId++);
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { open, resolve, reject });
      this.send(Kind.Request, id, sealed);
    });
  }

  /** Requests under one signature. */
  seal(requests, signer) {
    return this.#sender.seal(requests.map((request) => encode(request)), signer);
  }

  askTogether(...requests) {
    return Promise.all(this.seal(requests).map((message) => this.tell(message)));
  }

  async ask(request) {
    return (await this.askTogether(request))[0];
  }

  renew(nonce) {
    this.#sender.renew(Buffer.from(nonce));
  }
}
