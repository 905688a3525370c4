// The projector's part of a vote: how many have voted while it is open; bars when it is closed; then the
// right answer, and what was measured.

import { ApiError } from "../api.js";
import { byId, el } from "../dom.js";
import { exerciseText, rightChoice } from "../exercises.js";
import { number, t } from "../i18n.js";
import { transportLabel } from "../page_layout.js";
import { read, write } from "./channel.js";
import { figureTexts } from "./figures_table.js";
import { EXPERIMENTS } from "./lesson.js";
import { classRooms, offsetOf, RoomReader } from "./rooms.js";
import { CHOICES, latest, tally, votesIn } from "./votes.js";

const INTERVAL = 1000; // ms between two readings

export class VoteView {
  #key;
  #ballotsKey;
  #figures;
  #reader;
  #votes; // those of the current vote
  #readTo = 0; // the offset up to which we have read
  #vote; // {id, exercise, open, until}
  #revealed = false;
  #busy = false;

  /** `figures.clients` are the phones whose votes count. */
  constructor(room, figures) {
    this.#key = `votes.${room}`;
    this.#ballotsKey = `ballots.${room}`;
    this.#figures = figures;
    // The room keeps its last messages only: after a reload, we go on where we were.
    const { cursor, votes = [] } = read(this.#ballotsKey) ?? {};
    this.#votes = votes;
    this.#reader = new RoomReader(classRooms(room).votes, cursor);
    setInterval(() => this.#read(), INTERVAL);
  }

  /** Show a vote; `revealed` marks the right answer. */
  show(vote, revealed) {
    const isNew = vote?.exercise !== this.#vote?.exercise || vote?.id !== this.#vote?.id;
    this.#vote = vote;
    this.#revealed = revealed;
    if (!vote) return;
    if (isNew) this.#fill(vote.exercise);
    this.#draw();
    this.#read();
  }

  /** Show the result of an experiment below the votes, or nothing if there is none. */
  measured(rows, { kind }) {
    const sent = EXPERIMENTS[kind]?.messages;
    const measured = Object.entries(rows ?? {}).filter(([, { phones }]) => phones);
    byId("measured-rows").replaceChildren(...measured.map(([transport, figures]) => {
      const { requests, bytes, delay } = figureTexts(figures, sent);
      const texts = [requests, bytes, ...(sent ? [delay] : [])];
      const label = transportLabel(transport);
      return el("li", "", label, el("span", "", texts.join(" · ")));
    }));
    byId("measured-what").textContent = t(sent ? "classroom.measured" : "classroom.measured_quiet");
    this.#showMeasured();
  }

  #showMeasured() {
    byId("measured").hidden = !this.#revealed || !byId("measured-rows").childElementCount;
    byId("voters").hidden = !byId("measured").hidden;
  }

  #fill(exercise) {
    byId("vote-ask").replaceChildren(exerciseText("span", exercise, "ask"));
    byId("choices").replaceChildren(...CHOICES.map((choice) => {
      const line = el("li", "", el("span", "bar"), exerciseText("span", exercise, choice), el("span", "count"));
      line.dataset.choice = choice;
      line.children[1].className = "text";
      return line;
    }));
  }

  async #read() {
    if (!this.#vote || this.#busy) return;
    this.#busy = true;
    try {
      const { events, cursor } = await this.#reader.read();
      this.#readTo = offsetOf(cursor);
      if (events.length) this.#keep(votesIn(events), cursor);
      if (this.#vote) this.#draw();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // it reads again in a moment
    } finally {
      this.#busy = false;
    }
  }

  #keep(votes, cursor) {
    this.#votes = latest([...this.#votes, ...votes], this.#vote?.id);
    write(this.#ballotsKey, { cursor, votes: this.#votes });
  }

  #draw() {
    const { counts, voters } = this.#result();
    const { open, exercise } = this.#vote;
    const phones = Math.max(voters, this.#figures.clients.size);
    byId("voters").textContent = t(votersText(open, phones), { voters: number(voters), phones: number(phones) });
    for (const line of byId("choices").children) {
      const { choice } = line.dataset;
      const share = open || !voters ? 0 : counts[choice] / voters;
      line.querySelector(".bar").style.width = `${100 * share}%`;
      line.querySelector(".count").textContent = open ? "" : number(counts[choice]);
      line.classList.toggle("right", this.#revealed && choice === rightChoice(exercise));
    }
    this.#showMeasured();
  }

  // Phones may leave after the vote; so the result is kept as it was when it was closed.
  #result() {
    const { id, open, until } = this.#vote;
    const kept = read(this.#key);
    if (!open && until && kept?.id === id && kept.until === until) return kept;
    const result = tally(this.#votes, this.#vote, this.#figures.clients);
    const isComplete = !open && until && this.#readTo >= offsetOf(until);
    if (isComplete && this.#figures.clients.size) write(this.#key, { id, until, ...result });
    return result;
  }
}

// The phones are not counted yet just after the page was opened.
function votersText(open, phones) {
  if (open && !phones) return "classroom.vote_start";
  return open ? "classroom.vote_open" : "classroom.vote_closed";
}
