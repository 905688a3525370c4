// Directs the lesson: the steps of the plan, one key for "next", and the commands to phones and projector.
//
//   next ─▶ state ─▶ localStorage, BroadcastChannel (the projector), POST /class/ROOM.class/messages (phones)

import { ApiError, request, requestJSON, ROOT, roomUrl, withSecret } from "../api.js";
import { classChannel } from "../classroom/channel.js";
import { command } from "../classroom/figures.js";
import {
  beatsOf, EXPERIMENTS, newRun, nextPosition, plannedUpTo, previousPosition, stepsWith, stopwatch, textOf,
} from "../classroom/lesson.js";
import { classRooms } from "../classroom/rooms.js";
import { byId, el } from "../dom.js";
import { EXERCISE_IDS } from "../exercises.js";
import { explain, language, number, t } from "../i18n.js";
import { pageClient } from "../identity.js";
import { TCP_TRANSPORTS, TRANSPORTS, transportName } from "../page_layout.js";
import { uuid } from "../publish.js";

const KEYS = {
  ArrowRight: "next", PageDown: "next", ArrowLeft: "previous", PageUp: "previous",
};
const LEASE_INTERVAL = 20_000; // ms; a lease ends after a minute without use
const RELEASE_DELAY = 3000; // ms: the phones leave an emulator before it resets their connections
const START_DELAY = 1500; // ms until an experiment starts: the phones learn of it first

export class Presenter {
  #room;
  #key;
  #channel;
  #plan = [];
  #state;
  #lease; // {id, port} of the emulated network of this step
  #queue = Promise.resolve();

  constructor(room, key) {
    this.#room = room;
    this.#key = key;
    this.#channel = classChannel(room, (message) => this.#onMessage(message));
  }

  async start() {
    try {
      this.#plan = await fetchSteps(this.#key);
    } catch (error) {
      return this.#fail(error);
    }
    const kept = this.#channel.state();
    this.#state = stepsWith(this.#plan, kept?.extra)[kept?.step] ? kept : undefined;
    this.#lease = this.#state?.lease;
    this.#fillPage();
    this.#listen();
    this.#show();
    this.#sendKey();
  }

  get #steps() {
    return stepsWith(this.#plan, this.#state?.extra);
  }

  // --- the page --------------------------------------------------------------------------------------

  #fillPage() {
    const minutes = this.#plan.reduce((sum, step) => sum + step.minutes, 0);
    byId("order-title").textContent = t("lecturer.order", { minutes: number(minutes) });
    byId("steps").replaceChildren(...this.#rows());
    const kinds = [...Object.keys(EXPERIMENTS), "live"];
    byId("experiments").append(...kinds.map((kind) => el("button", {
      type: "button", id: `run-${kind}`, onclick: () => this.#do(() => this.#run(kind)),
    }, t(`classroom.do.${kind}`))));
    byId("exercise").append(...EXERCISE_IDS.map((id) => new Option(t(`exercise.${id}.title`), id)));
    for (const button of byId("presenter").querySelectorAll("button:not(#project)")) button.disabled = !this.#key;
    if (!this.#key) this.#say(t("lecturer.keyless"));
  }

  #rows() {
    let minute = 0;
    return this.#plan.map((step, n) => {
      const from = minute;
      minute += step.minutes;
      const times = el("th", { scope: "row" }, `${number(from)}–${number(minute)}`);
      const go = el("button", {
        type: "button", className: "step", disabled: !this.#key, onclick: () => this.#do(() => this.#goTo(n)),
      }, textOf(step.title, language));
      const link = step.page ? [" ", this.#link(step.page)] : [];
      const notes = step.notes ? ` ${textOf(step.notes, language)}` : "";
      return el("tr", "", times, el("td", "", go, ...link, notes), el("td", "", step.ask ? textOf(step.ask, language) : ""));
    });
  }

  #link(page) {
    const url = new URL(`demos/${page}.html?${new URLSearchParams({ room: this.#room })}`, ROOT);
    return el("a", { className: "go", href: url.href }, TRANSPORTS.includes(page) ? transportName(page) : page);
  }

  #listen() {
    byId("next").addEventListener("click", () => this.#next());
    byId("previous").addEventListener("click", () => this.#previous());
    byId("ask-class").addEventListener("click", () => this.#do(() => this.#add(byId("exercise").value)));
    byId("project").addEventListener("click", () => this.#open());
    addEventListener("keydown", (press) => {
      const typing = press.target.closest?.("input, select, textarea, dialog");
      if (!typing && !press.ctrlKey && !press.altKey && !press.metaKey && this.#press(press.key)) press.preventDefault();
    });
    setInterval(() => this.#showTime(), 500);
    setInterval(() => this.#renewLease(), LEASE_INTERVAL);
  }

  #press(key) {
    const action = this.#key && KEYS[key];
    if (action === "next") this.#next();
    if (action === "previous") this.#previous();
    return Boolean(action);
  }

  #open() {
    const query = new URLSearchParams({ room: this.#room, lang: language });
    open(new URL(`demos/projector.html?${query}`, ROOT), `projector ${this.#room}`, "popup,width=1280,height=720");
  }

  #onMessage({ hello, press, frozen, phones }) {
    if (phones !== undefined) byId("phones").textContent = t("classroom.projector.phones", { count: number(phones) });
    if (hello) this.#sendKey();
    if (press) this.#press(press);
    if (frozen && frozen === this.#state?.run.id) this.#say(t("classroom.run.frozen"));
  }

  #sendKey() {
    if (this.#key) this.#channel.send({ key: this.#key, state: this.#state });
  }

  // --- the lesson ------------------------------------------------------------------------------------

  // The position is read when the presses before have ended: three quick presses are three beats.
  #next() {
    this.#do(() => this.#enter(this.#state ? nextPosition(this.#steps, this.#state) : { step: 0, beat: 0 }));
  }

  #previous() {
    if (this.#state) this.#do(() => this.#enter(previousPosition(this.#state)));
  }

  /** Enter a step of the plan; an added exercise ends. */
  async #goTo(step) {
    if (this.#state?.extra) this.#state = { ...this.#state, extra: undefined, step: undefined };
    byId("presenter").scrollIntoView({ block: "nearest" });
    await this.#enter({ step, beat: 0 });
  }

  /** Put an exercise to the class: a step after the current one. */
  async #add(exercise) {
    const at = this.#state ? plannedUpTo(this.#state.step, this.#state.extra) : 0;
    const step = { minutes: 3, title: t(`exercise.${exercise}.title`), show: "class", exercise };
    this.#state = { startedAt: Date.now(), ...this.#state, extra: { at, step }, step: undefined };
    await this.#enter({ step: at, beat: 1 });
  }

  // One after the other, since each changes the state.
  #do(action) {
    this.#queue = this.#queue.then(action).catch((error) => this.#fail(error));
  }

  async #enter(position) {
    if (position.step === this.#state?.step && position.beat === this.#state.beat) return;
    this.#say("");
    const step = this.#steps[position.step];
    const isNew = position.step !== this.#state?.step;
    const now = Date.now();
    const state = { startedAt: now, ...this.#state, ...position };
    if (isNew) {
      Object.assign(state, {
        stepAt: now,
        room: step.room ?? this.#room,
        transports: step.transports ?? TCP_TRANSPORTS,
        run: newRun(uuid(), "live", now),
        vote: undefined,
      });
      state.lease = await this.#network(step.network);
    }
    const beat = beatsOf(step)[position.beat];
    Object.assign(state, { name: beat });
    if (beat === "run") state.run = this.#newRun(step.experiment, step.seconds);
    if (beat === "vote") state.vote = { id: uuid(), exercise: step.exercise, ...state.vote, open: true, until: undefined };
    if (beat !== "vote" && state.vote?.open) state.vote = { ...state.vote, open: false };
    await this.#publish(state);
    if (state.vote && !state.vote.open && !state.vote.until) await this.#closeVote();
  }

  // After the command: a vote that was sent before the phones learned of it counts.
  async #closeVote() {
    const { votes } = classRooms(this.#room);
    const { cursor } = await requestJSON(roomUrl(votes, "short_polling", { after: "now" }));
    this.#state = { ...this.#state, vote: { ...this.#state.vote, until: cursor } };
    this.#channel.save(this.#state);
  }

  async #run(kind) {
    if (!this.#state) await this.#enter({ step: 0, beat: 0 });
    await this.#publish({ ...this.#state, name: "run", run: this.#newRun(kind) });
  }

  #newRun(kind, seconds) {
    const delay = kind === "live" ? 0 : START_DELAY;
    return newRun(uuid(), kind, Date.now() + delay, kind === "quiet" ? seconds : undefined);
  }

  /** Save the state, and show it everywhere. */
  async #publish(state) {
    this.#state = state;
    this.#channel.save(state);
    this.#show();
    const { room, transports, lease, run, vote } = state;
    await command(this.#room, this.#key, { room, transports, port: lease?.port, run, vote });
  }

  // --- the emulated network --------------------------------------------------------------------------

  // All phones share one emulator: its port is part of the command.
  async #network(network = "none") {
    const before = this.#lease;
    if (network === "none") {
      this.#lease = undefined;
      if (before) setTimeout(() => release(before), RELEASE_DELAY);
      return undefined;
    }
    try {
      this.#lease = before ? await change(before, network) : await lease(network);
    } catch (error) {
      this.#lease = undefined;
      this.#fail(error);
    }
    return this.#lease;
  }

  async #renewLease() {
    if (this.#lease) await request(leaseUrl(this.#lease.id)).catch((error) => this.#fail(error));
  }

  // --- what the lecturer sees --------------------------------------------------------------------------

  #show() {
    const state = this.#state;
    const step = state && this.#steps[state.step];
    byId("step-title").textContent = step ? textOf(step.title, language) : t("classroom.not_started");
    byId("step-count").textContent = step
      ? t("classroom.step", { step: number(state.step + 1), steps: number(this.#steps.length), beat: t(`classroom.beat.${state.name}`) })
      : "";
    for (const [id, field] of [["notes", "notes"], ["question", "ask"], ["answer", "answer"]]) {
      byId(id).textContent = step?.[field] ? textOf(step[field], language) : "–";
    }
    byId("next").textContent = this.#nextText();
    [...byId("steps").rows].forEach((row, n) => {
      if (step && step === this.#plan[n]) row.setAttribute("aria-current", "step");
      else row.removeAttribute("aria-current");
    });
    this.#showTime();
  }

  #nextText() {
    if (!this.#state) return t("classroom.start");
    const { step, beat } = nextPosition(this.#steps, this.#state);
    if (step === this.#state.step && beat === this.#state.beat) return t("classroom.end");
    const what = step === this.#state.step
      ? t(`classroom.beat.${beatsOf(this.#steps[step])[beat]}`)
      : textOf(this.#steps[step].title, language);
    return t("classroom.next", { what });
  }

  #showTime() {
    const { stepAt, startedAt, step } = this.#state ?? {};
    if (!stepAt) return;
    const { minutes } = this.#steps[step];
    const now = Date.now();
    byId("timer").textContent = stopwatch(stepAt, now);
    byId("timer-of").textContent = t("classroom.timer", { minutes: number(minutes), total: stopwatch(startedAt, now) });
    byId("timer").parentElement.classList.toggle("late", now - stepAt > minutes * 60_000);
  }

  #say(text) {
    byId("presenter-state").classList.remove("failed");
    byId("presenter-state").textContent = text;
  }

  #fail(error) {
    if (!(error instanceof ApiError)) reportError(error); // a bug in the page
    this.#say(explain(error));
    byId("presenter-state").classList.add("failed");
  }
}

function lease(network) {
  return requestJSON(leaseUrl("", { network, client: pageClient() }), { method: "POST" });
}

// A lease may have ended: then another one.
function change({ id }, network) {
  return requestJSON(leaseUrl(id, { network }), { method: "PUT" }).catch(() => lease(network));
}

async function release({ id }) {
  await request(leaseUrl(id), { method: "DELETE" }).catch(() => {}); // it ends by itself, too
}

function leaseUrl(id, query = {}) {
  const url = new URL(["networks", id].filter(Boolean).join("/"), ROOT);
  url.search = new URLSearchParams(withSecret(query));
  return url;
}

/** The steps of the plan; only with the lecturer's key do they have the notes and the expected answers. */
async function fetchSteps(key) {
  const url = new URL("plan", ROOT);
  if (key) url.searchParams.set("key", key);
  try {
    return (await requestJSON(url)).steps;
  } catch (error) {
    if (error.code === "bad_key") return fetchSteps();
    throw error;
  }
}
