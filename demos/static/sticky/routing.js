// How nginx chooses a worker: the three routings of `realtime nginx`.  Pure; workers are the
// addresses that its configuration names, and the answer is the place of one in that list.
//
//   any      in turn: every request to the next worker, whoever asks
//   address  ip_hash: by the first three numbers of the address
//   session  SockJS by a hash of the session in the path; Socket.IO by the label that its sid begins
//            with; all else in turn

export const ROUTINGS = ["any", "address", "session"];

/** Gives `choose(request)`; a request has an `address`, and perhaps a `session` or a `label`. */
export function router(routing, workers) {
  let turn = -1;
  const inTurn = () => (turn = (turn + 1) % workers.length);
  const points = ring(workers);
  const choose = {
    any: inTurn,
    address: ({ address }) => ipHash(address, workers.length),
    session: ({ session, label }) => label ?? (session ? onRing(session, points) : inTurn()),
  };
  return choose[routing];
}

/** nginx's ip_hash, where all workers weigh the same (ngx_http_upstream_ip_hash_module). */
export function ipHash(address, workers) {
  const octets = address.split(".").slice(0, 3).map(Number);
  return octets.reduce((sum, octet) => (sum * 113 + octet) % 6271, 89) % workers;
}

const POINTS = 160; // for each worker, where all weigh the same

/**
 * nginx's `hash … consistent` (ngx_http_upstream_hash_module): each worker, "host:port", has points
 * on a ring of 2^32, and each hash leads on to the next.  When a worker goes, only its points do.
 */
export function ring(workers) {
  const points = workers.flatMap((name, worker) => {
    const colon = name.lastIndexOf(":");
    const begun = crc([...bytes(name.slice(0, colon)), 0, ...bytes(name.slice(colon + 1))]);
    let hash = 0;
    return Array.from({ length: POINTS }, () => {
      hash = finished(crc([hash, hash >>> 8, hash >>> 16, hash >>> 24], begun));
      return { hash, worker };
    });
  });
  return points.sort((one, other) => one.hash - other.hash);
}

/** The worker of the first point at or behind the hash of a text; behind the last is the first. */
export function onRing(text, points) {
  const hash = finished(crc(bytes(text)));
  return (points.find((point) => point.hash >= hash) ?? points[0]).worker;
}

const bytes = (text) => [...new TextEncoder().encode(text)];
const finished = (sum) => ~sum >>> 0;

// CRC-32 as in Ethernet (polynomial 0xedb88320), not finished, so that it can go on.
function crc(data, sum = 0xffffffff) {
  for (const byte of data) {
    sum ^= byte & 0xff;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return sum;
}
