// The lines of a stream of bytes.  What arrives at once may end within a line, and within a character.

/** Yield each line of a ReadableStream of UTF-8, without its line feed; an incomplete last one is dropped. */
export async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}
