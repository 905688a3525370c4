// An element with its class and what is in it: words go in as text, whoever wrote them.

export function make(tag, name = "", ...content) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...content.map((one) => (one instanceof Node ? one : String(one))));
  return element;
}
