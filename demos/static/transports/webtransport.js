// WebTransport: a session of HTTP/3 over QUIC (RFC 9000), so over UDP.  In it the server opens one stream, which
// carries one JSON object per line in both directions.  A message is acknowledged by a line that repeats its id.
// The session may also carry datagrams, which may be lost.
//
// A browser accepts the server's own certificate only by its hash, which the page learns from the server.

import { PendingAcks, notConnected } from "../acks.js";
import { ApiError, networkError, requestJSON, ROOT, roomUrl } from "../api.js";
import { secretOf } from "../identity.js";
import { lines } from "../lines.js";
import { keepConnected } from "../reconnect.js";
import { diagnose, watchdog, withResumeCheck } from "../watchdog.js";

const REFUSED = 4403; // the server's own, as on a WebSocket: 4000 + the HTTP status
const CLOSE_TIME = 1_000; // ms: after a stream has ended, the session's close code may follow
// Why a page cannot use it; the server reports all but the first two.
const REASONS = ["insecure", "no_browser", "disabled", "not_installed", "behind_proxy", "port_in_use", "port_unavailable"];

/**
 * Connect to a room.  `base` is another host and port, as for all transports; `offer` is the server's `{port,
 * hashes}` where the caller knows it.  `onDatagram(event)` also receives each event as a datagram, if none is lost.
 */
export function connect(room, { client, name, base, trace, ackTimeout, offer, onDatagram, ...options }) {
  const acks = new PendingAcks(ackTimeout);
  let open; // the writer of the stream, while it is open

  function connectOnce(attempt) {
    let session;
    let stopped = false;
    const dead = withResumeCheck(watchdog(() => attempt.ended()), room, attempt, base);

    async function openSession() {
      const { port, hashes } = offer ?? await requestOffer();
      if (stopped) return;
      const query = { after: attempt.cursor, client, name, trace, datagrams: onDatagram && 1 };
      session = new WebTransport(sessionUrl(room, query, base, port), { serverCertificateHashes: hashes.map(sha256) });
      session.closed.catch(() => {}); // `readStream` fails as well
      await session.ready;
      if (onDatagram) readDatagrams(session, onDatagram).catch(() => {});
    }

    async function readStream() {
      await openSession();
      if (stopped) return;
      const { value: stream } = await session.incomingBidirectionalStreams.getReader().read();
      if (!stream || stopped) return;
      open = stream.writable.getWriter();
      attempt.opened();
      for await (const line of lines(stream.readable)) {
        dead.reset();
        const event = line && JSON.parse(line); // an empty line is a heartbeat
        if (event && !acks.receive(event)) attempt.receive(event);
      }
    }

    async function ended(error) {
      if (stopped) return;
      const wasOpen = Boolean(open);
      closed();
      if (error instanceof ApiError) return attempt.ended(error);
      const { closeCode, reason } = await closeInfo(session);
      if (closeCode === REFUSED) return attempt.ended(new ApiError(reason));
      // A refused session, a dead network and one that blocks UDP look the same from here.
      if (!wasOpen) return attempt.ended(await diagnose(room, attempt, { client, name }, base) ?? networkError("no_udp"));
      attempt.ended();
    }

    readStream().then(ended, ended).catch((error) => attempt.ended(error));
    return () => {
      stopped = true;
      dead.stop();
      session?.close();
      closed();
    };
  }

  async function send(message) {
    if (!open) throw notConnected();
    // The session was opened with the secret of its client only.
    const secret = message.client === client ? undefined : secretOf(message.client);
    const line = new TextEncoder().encode(`${JSON.stringify({ ...message, secret })}\n`);
    return acks.wait(message.id, () => open.write(line).catch(() => {}));
  }

  function closed() {
    open = undefined;
    acks.rejectAll();
  }

  const reader = keepConnected(connectOnce, options);
  return { send, isOpen: () => Boolean(open), close: reader.close };
}

/** Why this page cannot use WebTransport here: an `ApiError` with a `reason`; undefined if it can. */
export async function unavailable() {
  try {
    await requestOffer();
  } catch (error) {
    if (error.code === "unavailable") return error;
  }
  return undefined; // an unreachable server may come back
}

/** `{port, hashes}` of the server; an `ApiError` if there is none for this page. */
async function requestOffer() {
  if (!isSecureContext) throw notAvailable("insecure");
  if (!globalThis.WebTransport) throw notAvailable("no_browser");
  // Again for each connection: the server replaces its certificate in less than 14 days.
  const { webtransport = { reason: "disabled" } } = await requestJSON(new URL("lab", ROOT));
  if (webtransport.reason) throw notAvailable(webtransport.reason);
  return webtransport;
}

function notAvailable(reason) {
  const known = REASONS.includes(reason);
  return new ApiError("unavailable", reason, { reason: known ? `webtransport_${reason}` : "no_webtransport" });
}

// Not below the path of a proxy in front of the server: proxies do not forward it.
function sessionUrl(room, query, base, port) {
  const at = new URL("/", base ?? location);
  if (!base) at.port = port;
  at.protocol = "https:";
  return roomUrl(room, "webtransport", query, at);
}

function sha256(hash) {
  return { algorithm: "sha-256", value: Uint8Array.from(atob(hash), (character) => character.charCodeAt()) };
}

async function readDatagrams(session, onDatagram) {
  const reader = session.datagrams.readable.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onDatagram(JSON.parse(new TextDecoder().decode(value)));
  }
}

/** `{closeCode, reason}` of a session that is ending; empty if it broke off. */
async function closeInfo(session) {
  const late = new Promise((resolve) => { setTimeout(resolve, CLOSE_TIME, {}); });
  return Promise.race([session?.closed.catch(() => ({})) ?? {}, late]);
}
