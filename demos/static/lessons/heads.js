// The heads of requests, from the bytes that the tap saw go up.

const END = "\r\n\r\n";
const MOST = 32_768; // characters: a head that is longer is none that we sent

/** `onHead` is told `{at, connection, url, fields}` of each GET of this transport, when its head is whole. */
export function watchHeads(tap, transport, onHead) {
  const begun = new Map(); // connection: the head as far as it is there
  tap.on(({ connection, direction, at, bytes, closed, ...piece }) => {
    if (closed) begun.delete(connection);
    if (piece.transport !== transport || direction !== "up") return;
    const text = (begun.get(connection) ?? "") + String.fromCharCode(...bytes);
    const end = text.indexOf(END);
    if (end < 0 && text.length < MOST) return void begun.set(connection, text);
    begun.delete(connection);
    if (text.startsWith("GET ")) onHead({ at, connection, ...parseHead(text.slice(0, end)) });
  });
}

function parseHead(text) {
  const [start, ...lines] = text.split("\r\n");
  const fields = new Map(lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  }));
  return { url: new URL(start.split(" ")[1], location), fields };
}
