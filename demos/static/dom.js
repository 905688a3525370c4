// Short names for what every page does with the DOM.  Strings go in as text, never as markup, so what
// other people write cannot become code.

const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

/** Create an element.  `properties` is its class, or an object of properties; `content` is nodes and text. */
export function el(tag, properties = {}, ...content) {
  const element = document.createElement(tag);
  if (typeof properties !== "string") Object.assign(element, properties);
  else if (properties) element.className = properties;
  element.append(...content);
  return element;
}

/** Create an SVG element.  It has attributes where HTML has properties. */
export function svgEl(tag, attributes = {}, ...content) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...content);
  return element;
}
