// What the lessons need from the captured traffic: heads of requests, whole chunks, handshakes, whole frames.
// The parser reports parts as they cross the socket; these functions collect them into units.

import { concat } from "../wire/http.js";
import { isPayload, payloadOf } from "../wire/payload.js";
import { TrafficParser } from "../wire/traffic_parser.js";

/** Calls `onHead(request)` for each GET of this transport, when its head is complete. */
export function watchHeads(tap, transport, onHead) {
  parseTraffic(tap, {
    onPart({ message, kind }) {
      if (kind !== "head-end" || message.method !== "GET") return;
      if (message.transport === transport) onHead(message);
    },
  });
}

/** Calls `onExchange(request, response)` for each complete response of this transport. */
export function watchExchanges(tap, transport, onExchange) {
  parseTraffic(tap, {
    onMessage(message) {
      const complete = message.kind === "response" && message.endedAt !== undefined;
      if (complete && message.transport === transport) onExchange(message.request, message);
    },
  });
}

/** Calls `onChunk(data, response)` for each complete chunk of this transport's responses (RFC 9112 §7.1). */
export function watchChunks(tap, transport, onChunk) {
  const held = new WeakMap(); // message: the data of its current chunk
  parseTraffic(tap, {
    onPart({ message, kind, bytes }) {
      if (message.transport !== transport) return;
      if (kind === "chunk-data") held.set(message, [...(held.get(message) ?? []), bytes]);
      if (kind !== "chunk-end" || !held.has(message)) return;
      onChunk(concat(held.get(message)), message);
      held.delete(message);
    },
  });
}

/** Calls `onHandshake(response)` for each WebSocket, then `onFrame(message, bytes)` for each frame. */
export function watchSocket(tap, { onHandshake, onFrame }) {
  const held = new WeakMap();
  parseTraffic(tap, {
    onPart({ message, kind, bytes }) {
      if (message.kind === "frame") held.set(message, [...(held.get(message) ?? []), bytes]);
      if (kind === "head-end" && message.status === 101) onHandshake(message);
    },
    onMessage(message) {
      if (message.kind === "frame" && message.endedAt) onFrame(message, concat(held.get(message)));
    },
  });
}

/**
 * Calls `onStep({kind, direction, at, bytes, text, method, target, status})` for each request, response,
 * chunk and frame of this transport, with its payload as text; for a streaming response at its head.
 */
export function watchMessages(tap, transport, onStep) {
  const held = new WeakMap(); // message: its payload so far
  const takeText = (message, direction) => {
    const parts = held.get(message) ?? [];
    held.delete(message);
    return new TextDecoder().decode(payloadOf({ message, parts, direction }));
  };
  const report = (message, bytes, direction, at) => {
    const { kind, method, target, status } = message;
    onStep({ kind, direction, at, bytes, method, target, status, text: takeText(message, direction) });
  };
  parseTraffic(tap, {
    onPart({ message, direction, kind, bytes, at }) {
      if (message.transport !== transport) return;
      if (isPayload({ kind })) held.set(message, [...(held.get(message) ?? []), { kind, bytes }]);
      const streams = kind === "head-end" && message.kind === "response" && isStreaming(message);
      if (streams) report(message, message.bytes, direction, at);
      if (kind === "chunk-end" && held.has(message)) {
        const size = held.get(message).reduce((sum, part) => sum + part.bytes.length, 0);
        onStep({ kind: "chunk", direction, at, bytes: size, text: takeText(message, direction) });
      }
    },
    onMessage(message) {
      if (message.endedAt === undefined || message.transport !== transport) return;
      if (message.kind === "response" && isStreaming(message)) return;
      if (message.kind === "unknown" || message.opcode >= 8) return;
      report(message, message.bytes, message.direction, message.endedAt);
    },
  });
}

function isStreaming({ status, fields }) {
  return status === 101 || Boolean(fields.get("transfer-encoding")?.includes("chunked"));
}

// After dropped bytes the position in a message is unknown: wait for the next connection.
function parseTraffic(tap, listener) {
  let parser = new TrafficParser(listener);
  tap.on((record) => {
    if (record.dropped) parser = new TrafficParser(listener);
    else parser.feed(record);
  });
}
