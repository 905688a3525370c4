// How students join: our address in the local network, in large type, and as a QR code for phones.

import { ROOT } from "../api.js";
import { byId, el } from "../dom.js";

/** Show the URL of `path` for other machines, or how to start a server that they can reach. */
export function showJoinAddress([address], path) {
  byId("reachable").hidden = !address;
  byId("unreachable").hidden = Boolean(address);
  if (!address) return;
  byId("code").src = codeUrl(path);
  byId("address").replaceChildren(linkTo(new URL(path, address)));
}

/** A card for each [name, path] of `groups`: a link, and a QR code if other machines can reach us. */
export function showGroupCards(list, [address], groups) {
  list.replaceChildren(...groups.map(([name, path]) => {
    const card = el("li", "", el("b", "", name), linkTo(new URL(path, address ?? ROOT)));
    if (address) card.append(code(path));
    return card;
  }));
}

function code(path) {
  // An empty `alt`: the link beside it says the same.
  return Object.assign(new Image(130, 130), { src: codeUrl(path), alt: "" });
}

/** The page of a phone in this room. */
export function joinPath(room) {
  return `demos/class.html?${new URLSearchParams({ room })}`;
}

/** The QR code of a path at our address in the local network. */
export function codeUrl(path) {
  return `../demos/qr.svg?${new URLSearchParams({ path: `/${path}` })}`;
}

/** A link that shows its URL.  People type it, so it shows the name of the room in its own script. */
export function linkTo(url) {
  // A long URL may break after a slash or before the query.
  const segments = decodeURI(url.href).split(/(?<=[^/]\/)|(?=\?)/);
  return el("a", { href: url.href }, ...segments.flatMap((segment) => [segment, el("wbr")]));
}
