// A box that scrolls: it follows new content at its end, until the user scrolls up or something in it is
// marked.

export class FollowingBox {
  #box;
  #margin;
  #held = false;
  #following = true;
  #size; // of the box and its content, at the last scroll event

  /** A reader within `margin` px of the end follows. */
  constructor(box, margin = 40) {
    this.#box = box;
    this.#margin = margin;
    // A box that shrinks, or whose content grows, scrolls as well: then it was not the user.
    box.addEventListener("scroll", () => {
      const size = `${box.clientHeight} ${box.scrollHeight}`;
      if (!this.#held && (this.#isAtEnd() || size === this.#size)) this.#following = this.#isAtEnd();
      this.#size = size;
    });
    new ResizeObserver(() => this.follow()).observe(box);
  }

  /** Something was added: scroll to it, if the box follows. */
  follow() {
    if (this.#following && !this.#held) this.#box.scrollTop = this.#box.scrollHeight;
  }

  /** Follow from now on, wherever the reader is. */
  restart() {
    this.#held = false;
    this.#following = true;
    this.follow();
  }

  /** Show the start, and follow nothing until the reader is at the end. */
  toStart() {
    this.#held = this.#following = false;
    this.#box.scrollTop = 0;
  }

  /** The content above has grown or shrunk: keep the position of what is visible. */
  shift(pixels) {
    if (!this.#following || this.#held) this.#box.scrollTop += pixels;
  }

  /** Stay where it is, or at `element`, until `release`. */
  hold(element) {
    this.#held = true;
    if (element) this.#show(element);
  }

  release() {
    if (!this.#held) return;
    this.#held = false;
    this.follow();
  }

  // Scrolls this box only: `scrollIntoView` would also scroll the page.
  #show(element) {
    const [outer, inner] = [this.#box.getBoundingClientRect(), element.getBoundingClientRect()];
    if (inner.top < outer.top) this.#box.scrollTop += inner.top - outer.top;
    else if (inner.bottom > outer.bottom) {
      // Of an element that is higher than the box, the start is visible.
      this.#box.scrollTop += Math.min(inner.bottom - outer.bottom, inner.top - outer.top);
    }
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#box;
    return scrollHeight - scrollTop - clientHeight < this.#margin;
  }
}
