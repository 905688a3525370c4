// Clients behind a load balancer, request by request: which worker receives each request, and how that
// worker responds.  Pure: nothing is sent.
//
// A worker has the sessions that were created in it, and no others: this is why sessions need sticky
// routing.  A cursor is part of the request, so any worker can respond to it.

import { router } from "./routing.js";

export const TRANSPORTS = ["long_polling", "websocket", "sockjs", "socketio"];

// The requests of each transport in order; the last one repeats.  One `creates` a session, others `need` it.
const REQUESTS = {
  long_polling: [{ line: "GET /rooms/lobby/long_polling?after={cursor}" }],
  websocket: [
    { line: "GET /rooms/lobby/websocket, Upgrade: websocket", creates: true },
    { line: "…", connection: true },
  ],
  sockjs: [
    { line: "POST /sockjs/000/{session}/xhr", creates: true },
    { line: "POST /sockjs/000/{session}/xhr_send", needs: true },
    { line: "POST /sockjs/000/{session}/xhr", needs: true },
  ],
  socketio: [
    { line: "GET /socket.io/?transport=polling", creates: true },
    { line: "POST /socket.io/?transport=polling&sid={session}", needs: true },
    { line: "GET /socket.io/?transport=polling&sid={session}", needs: true },
  ],
};
const ERRORS = { sockjs: "404 not_found", socketio: "400 bad_request" };

/** Clients at `addresses` that use one transport, through one routing, to `workers` ("host:port"). */
export class Simulation {
  lostSessions = 0;
  requests = 0;
  #transport;
  #choose;
  #sessions = 0;

  constructor({ transport, routing, workers, addresses }) {
    this.workers = workers.map(() => ({ sessions: new Set(), requests: 0 }));
    this.clients = addresses.map((address) => ({ address, step: 0, session: "", worker: -1, lost: 0 }));
    this.#transport = transport;
    this.#choose = router(routing, workers);
  }

  /** The next client sends its next request: `{client, worker, line, known, status}`. */
  next() {
    const index = this.requests % this.clients.length;
    const client = this.clients[index];
    this.requests += 1;
    const request = REQUESTS[this.#transport][client.step];
    if (request.creates) this.#createSession(client);
    const worker = request.connection ? client.worker : this.#choose(this.#routingInput(client, request));
    const { sessions } = this.workers[worker];
    this.workers[worker].requests += 1;
    const line = request.line.replace("{session}", client.session).replace("{cursor}", `7f3a-${this.requests}`);
    const known = !request.needs || sessions.has(client.session);
    if (request.creates) sessions.add(client.session);
    if (known) this.#advance(client, worker);
    else this.#loseSession(client);
    const status = known ? (request.connection ? "" : "200") : ERRORS[this.#transport];
    return { client: index, worker, line, known, status };
  }

  #createSession(client) {
    this.#sessions += 1;
    const prefix = this.#transport === "socketio" ? "" : "s";
    client.session = prefix + (this.#sessions * 7919).toString(36);
    client.worker = -1;
  }

  // What nginx sees: SockJS has its session in every path, Socket.IO sends a sid once it has one.
  #routingInput(client, request) {
    const session = this.#transport === "sockjs" ? client.session : "";
    const label = this.#transport === "socketio" && request.needs ? client.worker : undefined;
    return { address: client.address, session, label };
  }

  #advance(client, worker) {
    if (client.worker < 0) client.worker = worker;
    client.step = Math.min(client.step + 1, REQUESTS[this.#transport].length - 1);
  }

  #loseSession(client) {
    client.lost += 1;
    client.step = 0;
    this.lostSessions += 1;
  }
}
