// The phone's part of a vote: a question, three choices, and a message for each change of mind.

import { byId, el } from "../dom.js";
import { exerciseText } from "../exercises.js";
import { explain, t } from "../i18n.js";
import { Outbox } from "../outbox.js";
import { publish, uuid } from "../publish.js";
import { session } from "../storage.js";
import { CHOICES, voteText } from "./votes.js";

export class VoteForm {
  #client;
  #vote;
  // It sends again until the server has the vote.
  #outbox;

  constructor(room, client) {
    this.#client = client;
    this.#outbox = new Outbox((message) => publish(room, message), (_, state, error) => this.#showSent(state, error));
  }

  /** Show a vote, `{id, exercise, open}`, or none. */
  show(vote) {
    const isNew = vote?.id !== this.#vote?.id;
    this.#vote = vote;
    byId("vote").hidden = !vote;
    if (!vote) return;
    if (isNew) this.#fill();
    byId("vote").disabled = !vote.open;
    byId("vote-state").textContent = vote.open ? this.#stateText() : t("classroom.phone.vote_closed");
  }

  #fill() {
    const { exercise } = this.#vote;
    byId("vote-ask").replaceChildren(exerciseText("span", exercise, "ask"));
    byId("vote-choices").replaceChildren(...CHOICES.map((choice) => {
      const checked = choice === this.#chosen;
      const radio = el("input", { type: "radio", name: "vote", value: choice, checked, onchange: () => this.#choose(choice) });
      return el("label", "", radio, exerciseText("span", exercise, choice));
    }));
  }

  get #chosen() {
    return session.get(`vote.${this.#vote.id}`);
  }

  #choose(choice) {
    session.set(`vote.${this.#vote.id}`, choice);
    const text = voteText(this.#vote.id, choice);
    this.#outbox.add({ id: uuid(), client: this.#client, text, via: "class" });
  }

  #stateText() {
    return this.#chosen ? t("classroom.phone.voted") : "";
  }

  #showSent(state, error) {
    if (this.#vote?.open) byId("vote-state").textContent = error ? explain(error) : state === "accepted" ? this.#stateText() : "…";
  }
}
