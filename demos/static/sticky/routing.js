// How nginx chooses a worker: the three routings of `realtime nginx`.  Pure; workers are the addresses in
// nginx's configuration, and the result is an index into that list.
//
//   any      round robin: every request goes to the next worker
//   address  ip_hash: by the first three octets of the client's address
//   session  SockJS by a hash of the session in the path; Socket.IO by the worker's label at the start of
//            its sid; everything else round robin

export const ROUTINGS = ["any", "address", "session"];

/** Return `choose(request)`; a request has an `address`, and perhaps a `session` or a `label`. */
export function router(routing, workers) {
  let latest = -1;
  const roundRobin = () => (latest = (latest + 1) % workers.length);
  const points = ring(workers);
  const choose = {
    any: roundRobin,
    address: ({ address }) => ipHash(address, workers.length),
    session: ({ session, label }) => label ?? (session ? ringLookup(session, points) : roundRobin()),
  };
  return choose[routing];
}

/** nginx's ip_hash, for workers of equal weight (ngx_http_upstream_ip_hash_module). */
export function ipHash(address, workers) {
  const octets = address.split(".").slice(0, 3).map(Number);
  return octets.reduce((sum, octet) => (sum * 113 + octet) % 6271, 89) % workers;
}

const POINTS = 160; // for each worker, if all have the same weight

/**
 * nginx's `hash … consistent` (ngx_http_upstream_hash_module): each worker, "host:port", has points
 * on a ring of 2^32, and a hash belongs to the next point.  A worker that is removed takes only its own
 * points with it.
 */
export function ring(workers) {
  const points = workers.flatMap((name, worker) => {
    const colon = name.lastIndexOf(":");
    const prefix = crc32([...bytes(name.slice(0, colon)), 0, ...bytes(name.slice(colon + 1))]);
    let hash = 0;
    return Array.from({ length: POINTS }, () => {
      hash = finish(crc32([hash, hash >>> 8, hash >>> 16, hash >>> 24], prefix));
      return { hash, worker };
    });
  });
  return points.sort((a, b) => a.hash - b.hash);
}

/** The worker of the first point at or after the hash of a text; the ring starts again at its end. */
export function ringLookup(text, points) {
  const hash = finish(crc32(bytes(text)));
  return (points.find((point) => point.hash >= hash) ?? points[0]).worker;
}

const bytes = (text) => [...new TextEncoder().encode(text)];
const finish = (sum) => ~sum >>> 0;

// CRC-32 as in Ethernet (polynomial 0xedb88320), without the final complement, so that it can continue.
function crc32(data, sum = 0xffffffff) {
  for (const byte of data) {
    sum ^= byte & 0xff;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return sum;
}
