// The types of client.js, for editors and for TypeScript (`checkJs`).  No page loads this file.

/** @import { ApiError } from "./api.js" */

/**
 * @typedef {object} RoomEvent
 * @property {"say" | "join" | "quit" | "gap"} kind gap: the history between your cursor and the next event is lost
 * @property {string} cursor its position in the room
 * @property {string} [id] of all but a gap
 * @property {string | null} [client] the id of who sent it
 * @property {string | null} [name]
 * @property {string} [text] of a message
 * @property {string | null} [via] the transport by which it was sent
 * @property {number | null} [sent] the sender's clock, in ms
 * @property {number} [published] the server's clock, in ms
 * @property {"trimmed" | "rewound" | "unknown"} [reason] of a gap
 * @property {number | null} [missed] how many events a gap has lost, if that is known
 */

/** @typedef {"connecting" | "open" | "waiting" | "refused"} State refused: no more attempts */

/** @typedef {{ seconds?: number, error?: ApiError }} StateDetail why it waits, and how long; or why it is refused */

/** @typedef {{ id: string, text: string, client?: string, name?: string, via?: string, sent?: number }} Message */

/** @typedef {{ id: string, cursor: string }} Receipt the server has a message, at this position */

/**
 * @typedef {object} Options
 * @property {string} [transport] websocket (the default), sse, fetch_streaming, long_polling, short_polling …
 * @property {string} [name] makes you a member of the room
 * @property {string} [secret] of your client id, to be the same client after a reload; else a new one
 * @property {string} [after] a cursor, or "now"; else the last 50 events come first
 * @property {(event: RoomEvent) => void} [onEvent]
 * @property {(state: State, detail?: StateDetail) => void} [onState]
 * @property {(message: Message, state: "pending" | "accepted" | "refused", error?: ApiError) => void} [onSent]
 * @property {number} [interval] seconds between two short polls; 2
 * @property {number} [pad] bytes at the start of an iframe; 0
 * @property {string} [encoding] asks for compression: gzip or zstd, and deflate on a WebSocket
 * @property {string | URL} [base] another port of the same server
 * @property {string} [client] an id that this page has already
 * @property {boolean} [locate] false: no request for the cursor to start from
 * @property {(name: string) => any} [setting] `interval` and `pad`, where they may change
 * @property {string} [trace] the secret of a capture
 * @property {(names: string[]) => void} [onTransports] what a library has used
 */

export {};
