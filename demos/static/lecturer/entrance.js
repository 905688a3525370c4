// How others get in: our address in the local network, large, and as a code that a phone reads.

const at = (id) => document.getElementById(id);

/** Show where `place` is found from another machine, or how to start a server that can be found. */
export function showEntrance([address], place) {
  at("reachable").hidden = !address;
  at("unreachable").hidden = Boolean(address);
  if (!address) return;
  at("code").src = codeOf(place);
  at("address").replaceChildren(linkTo(new URL(place, address)));
}

/** A card for each of `places`, [name, place]: a link, and a code where phones can reach us. */
export function showCards(list, [address], places) {
  list.replaceChildren(...places.map(([name, place]) => {
    const card = document.createElement("li");
    const title = document.createElement("b");
    title.textContent = name;
    card.append(title, linkTo(new URL(place, address ?? location)));
    if (address) card.append(code(place));
    return card;
  }));
}

function code(place) {
  const image = new Image(130, 130);
  image.src = codeOf(place);
  image.alt = ""; // the link beside it says the same
  return image;
}

function codeOf(path) {
  return `/demos/qr.svg?${new URLSearchParams({ path })}`;
}

// For people to type: what they see is a name of a room in its own script.
function linkTo(url) {
  const link = document.createElement("a");
  link.href = url;
  // A long address breaks where a reader may pause.
  const pieces = decodeURI(url.href).split(/(?<=[^/]\/)|(?=\?)/);
  link.append(...pieces.flatMap((piece) => [piece, document.createElement("wbr")]));
  return link;
}
