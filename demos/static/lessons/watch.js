// What a lesson wants of the wire: the heads of requests, whole chunks, handshakes, whole frames.
// Parts come as they crossed; here they wait for those that belong to them.

import { Conversation } from "../wire/conversation.js";
import { join } from "../wire/http.js";

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

// Where bytes are missing nobody knows what the next ones are: wait for a connection that begins.
function converse(tap, listener) {
  let conversation = new Conversation(listener);
  tap.on((piece) => {
    if (piece.dropped) conversation = new Conversation(listener);
    else conversation.feed(piece);
  });
}
