// What a visitor asks, request by request, and what a worker makes of it.  Pure: nothing is sent.
//
// A worker knows the sessions that were begun with it, and no others: that is all there is to
// sticky routing.  A cursor stands in the request, so any worker can answer it.

import { router } from "./routing.js";

export const WAYS = ["long_polling", "websocket", "sockjs", "socketio"];

// Of each way: its requests, and then the last one again and again.  `begins` a session, `needs` it.
const REQUESTS = {
  long_polling: [{ line: "GET /rooms/lobby/long_polling?after={cursor}" }],
  websocket: [
    { line: "GET /rooms/lobby/websocket, Upgrade: websocket", begins: true },
    { line: "…", connection: true },
  ],
  sockjs: [
    { line: "POST /sockjs/000/{session}/xhr", begins: true },
    { line: "POST /sockjs/000/{session}/xhr_send", needs: true },
    { line: "POST /sockjs/000/{session}/xhr", needs: true },
  ],
  socketio: [
    { line: "GET /socket.io/?transport=polling", begins: true },
    { line: "POST /socket.io/?transport=polling&sid={session}", needs: true },
    { line: "GET /socket.io/?transport=polling&sid={session}", needs: true },
  ],
};
const REFUSALS = { sockjs: "404 not_found", socketio: "400 bad_request" };

/** Visitors at their `addresses`, who come by one way through one routing to `workers` ("host:port"). */
export class Visits {
  constructor({ way, routing, workers, addresses }) {
    this.way = way;
    this.workers = workers.map(() => ({ sessions: new Set(), requests: 0 }));
    this.lost = 0;
    this.asked = 0;
    this._choose = router(routing, workers);
    this._begun = 0;
    this.visitors = addresses.map((address) => ({ address, step: 0, session: "", worker: -1, lost: 0 }));
  }

  /** The next visitor asks; gives what came of it. */
  next() {
    const visitor = this.visitors[this.asked % this.visitors.length];
    this.asked += 1;
    const asked = REQUESTS[this.way][visitor.step];
    if (asked.begins) this._begin(visitor);
    const worker = asked.connection ? visitor.worker : this._choose(this._request(visitor, asked));
    const { sessions } = this.workers[worker];
    this.workers[worker].requests += 1;
    const line = asked.line.replace("{session}", visitor.session).replace("{cursor}", `7f3a-${this.asked}`);
    const known = !asked.needs || sessions.has(visitor.session);
    if (asked.begins) sessions.add(visitor.session);
    if (known) this._go(visitor, worker);
    else this._lose(visitor);
    const answer = known ? (asked.connection ? "" : "200") : REFUSALS[this.way];
    return { visitor: this.visitors.indexOf(visitor), worker, line, known, answer };
  }

  _begin(visitor) {
    this._begun += 1;
    visitor.session = `${this.way === "socketio" ? "" : "s"}${(this._begun * 7919).toString(36)}`;
    visitor.worker = -1;
  }

  // What nginx can see: the session of SockJS is in every path, that of Socket.IO once it has one.
  _request(visitor, asked) {
    const session = this.way === "sockjs" ? visitor.session : "";
    const label = this.way === "socketio" && asked.needs ? visitor.worker : undefined;
    return { address: visitor.address, session, label };
  }

  _go(visitor, worker) {
    if (visitor.worker < 0) visitor.worker = worker;
    visitor.step = Math.min(visitor.step + 1, REQUESTS[this.way].length - 1);
  }

  _lose(visitor) {
    visitor.lost += 1;
    visitor.step = 0;
    this.lost += 1;
  }
}
