// js-libp2p asks for Node 22; of what that brought it uses these two, and Debian 13 has Node 20.

import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

Promise.withResolvers ??= () => {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};
