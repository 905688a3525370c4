// Make an endless frame at the moment that ?how= names: in the markup, in the `load` event, or one turn
// of the event loop later.  Only the last leaves the tab at rest.
{
  const asked = new URLSearchParams(location.search);
  const room = encodeURIComponent(asked.get("room") || "lobby");
  const url = `/rooms/${room}/iframe_streaming`;

  const make = () => {
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.src = url;
    document.body.append(frame);
  };
  const ways = {
    // As if it stood in the file: the parser reads it in the place of this script.
    markup: () => document.write(`<iframe hidden src="${url}"></iframe>`),
    load: () => addEventListener("load", make),
    after: () => addEventListener("load", () => setTimeout(make)),
  };

  // The scripts in the frame find us here.
  window.realtime = { heard: 0, receive: () => (window.realtime.heard += 1) };
  addEventListener("load", () => (window.realtime.loaded = true));
  (ways[asked.get("how")] ?? ways.after)();
}
