// js-libp2p asks for Node 22; of what that brought it uses this alone, and Debian 13 has Node 20.
Promise.withResolvers ??= () => {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};
