// What a lesson wants of the wire: the heads of requests, whole chunks, handshakes, whole frames.
// Parts come as they crossed; here they wait for those that belong to them.

import { Conversation } from "../wire/conversation.js";
import { join } from "../wire/http.js";
import { isPayload, payloadOf } from "../wire/payload.js";

/** `onHead(request)` is told each GET of this transport, when its head is whole. */
export function watchHeads(tap, transport, onHead) {
  converse(tap, {
    onPart({ message, kind }) {
      if (kind !== "head-end" || message.method !== "GET") return;
      if (message.transport === transport) onHead(message);
    },
  });
}

/** `onChunk(data)` is told the chunks of this transport's answers, each whole (RFC 9112 §7.1). */
export function watchChunks(tap, transport, onChunk) {
  const held = new WeakMap(); // message: the data of the chunk that is under way
  converse(tap, {
    onPart({ message, kind, bytes }) {
      if (message.transport !== transport) return;
      if (kind === "chunk-data") held.set(message, [...(held.get(message) ?? []), bytes]);
      if (kind !== "chunk-end" || !held.has(message)) return;
      onChunk(join(held.get(message)));
      held.delete(message);
    },
  });
}

/** `onHandshake(answer)` of each WebSocket, then `onFrame(message, bytes)` for each frame, either way. */
export function watchSocket(tap, { onHandshake, onFrame }) {
  const held = new WeakMap();
  converse(tap, {
    onPart({ message, kind, bytes }) {
      if (message.kind === "frame") held.set(message, [...(held.get(message) ?? []), bytes]);
      if (kind === "head-end" && message.status === 101) onHandshake(message);
    },
    onMessage(message) {
      if (message.kind === "frame" && message.ended) onFrame(message, join(held.get(message)));
    },
  });
}

/**
 * `onStep({kind, direction, at, bytes, text, method, target, status})` is told each request, answer,
 * chunk and frame of this transport, with what it says; an answer that goes on is told at its head.
 */
export function watchMessages(tap, transport, onStep) {
  const held = new WeakMap(); // message: the pieces of what it says
  const says = (message, direction) => {
    const text = new TextDecoder().decode(payloadOf({ message, parts: held.get(message) ?? [], direction }));
    held.delete(message);
    return text;
  };
  const tell = (message, bytes, direction, at) => {
    const { kind, method, target, status } = message;
    onStep({ kind, direction, at, bytes, method, target, status, text: says(message, direction) });
  };
  converse(tap, {
    onPart({ message, direction, kind, bytes, at }) {
      if (message.transport !== transport) return;
      if (isPayload({ kind })) held.set(message, [...(held.get(message) ?? []), { kind, bytes }]);
      const goesOn = kind === "head-end" && message.kind === "answer" && isEndless(message);
      if (goesOn) tell(message, message.bytes, direction, at);
      if (kind === "chunk-end" && held.has(message)) {
        const size = held.get(message).reduce((sum, part) => sum + part.bytes.length, 0);
        onStep({ kind: "chunk", direction, at, bytes: size, text: says(message, direction) });
      }
    },
    onMessage(message) {
      if (message.ended === undefined || message.transport !== transport) return;
      if (message.kind === "answer" && isEndless(message)) return;
      if (message.kind === "unknown" || message.opcode >= 8) return;
      tell(message, message.bytes, message.direction, message.ended);
    },
  });
}

function isEndless({ status, fields }) {
  return status === 101 || Boolean(fields.get("transfer-encoding")?.includes("chunked"));
}

// Where bytes are missing nobody knows what the next ones are: wait for a connection that begins.
function converse(tap, listener) {
  let conversation = new Conversation(listener);
  tap.on((piece) => {
    if (piece.dropped) conversation = new Conversation(listener);
    else conversation.feed(piece);
  });
}
