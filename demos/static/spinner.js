// Add an endless frame at the moment that ?how= names: in the markup, in the `load` event, or one turn
// of the event loop later.  Only the last lets the tab finish loading.
{
  const query = new URLSearchParams(location.search);
  const room = encodeURIComponent(query.get("room") || "lobby");
  const url = `../rooms/${room}/iframe_streaming`;

  const addFrame = () => {
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.src = url;
    document.body.append(frame);
  };
  const methods = {
    // As if it were in the file: the parser reads it at the position of this script.
    markup: () => document.write(`<iframe hidden src="${url}"></iframe>`),
    load: () => addEventListener("load", addFrame),
    after: () => addEventListener("load", () => setTimeout(addFrame)),
  };

  // The scripts in the frame call this function.
  window.realtime = { received: 0, receive: () => (window.realtime.received += 1) };
  addEventListener("load", () => (window.realtime.loaded = true));
  (methods[query.get("how")] ?? methods.after)();
}
