// How nginx chooses a worker: the three routings of `realtime nginx`.  Pure; workers are 0, 1, 2, …
//
//   any      in turn: every request to the next worker, whoever asks
//   address  ip_hash: by the first three numbers of the address
//   session  SockJS by a hash of the session in the path; Socket.IO by the label that its sid begins
//            with; all else in turn

export const ROUTINGS = ["any", "address", "session"];

/** Gives `choose(request)`; a request has an `address`, and perhaps a `session` or a `label`. */
export function router(routing, workers) {
  let turn = -1;
  const inTurn = () => (turn = (turn + 1) % workers);
  const choose = {
    any: inTurn,
    address: ({ address }) => ipHash(address, workers),
    session: ({ session, label }) => label ?? (session ? hash(session, workers) : inTurn()),
  };
  return choose[routing];
}

/** nginx's ip_hash, where all workers weigh the same (ngx_http_upstream_ip_hash_module). */
export function ipHash(address, workers) {
  const octets = address.split(".").slice(0, 3).map(Number);
  return octets.reduce((sum, octet) => (sum * 113 + octet) % 6271, 89) % workers;
}

// FNV-1a: the ring of nginx's `consistent` gives others, and keeps most of them when workers go.
function hash(text, workers) {
  let sum = 0x811c9dc5;
  for (const letter of text) sum = Math.imul(sum ^ letter.codePointAt(0), 0x01000193) >>> 0;
  return sum % workers;
}
