// The script of example.html, a page that needs nothing but client.js; docs/clients.md explains it.

import { connect } from "./client.js";

const [state, events, form, input] = ["state", "events", "say", "text"].map((id) => document.getElementById(id));
const query = new URLSearchParams(location.search);

const room = connect(query.get("room") ?? "lobby", {
  transport: query.get("transport") ?? "websocket",
  name: query.get("name") ?? "Ada",
  onEvent({ kind, name, text, reason }) {
    const line = document.createElement("li");
    line.textContent = `${kind} ${name ?? ""} ${text ?? reason ?? ""}`;
    events.append(line);
  },
  onState(now, { error } = {}) {
    state.dataset.state = now;
    state.textContent = error ? `${now}: ${error.message}` : now;
  },
});

form.addEventListener("submit", (submit) => {
  submit.preventDefault();
  room.send(input.value).catch((error) => { state.textContent = error.message; });
  input.value = "";
});
