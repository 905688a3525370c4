// usage: k6 run -e URL=http://127.0.0.1:8000 -e READERS=http://127.0.0.1:8001 benchmarks/recipes/delay.js
//
// The time from when a message is sent to its arrival at each of ten readers by WebSocket.  READERS
// is where they connect: a network emulator in front of the server, or the server itself.  Compare
// with `p50` of benchmarks.latency.  The clock of JavaScript has whole milliseconds, so compare
// through a network of 100 ms, not on loopback.

import http from 'k6/http';
import ws from 'k6/ws';
import { Trend } from 'k6/metrics';

const url = __ENV.URL || 'http://127.0.0.1:8000';
const readersUrl = (__ENV.READERS || url).replace(/^http/, 'ws');
const seconds = Number(__ENV.SECONDS || 10);
// Readers connect before the first message and stay until after the last.
const marginSeconds = 2;

const delay = new Trend('delivery_delay', true);

export const options = {
  scenarios: {
    readers: {
      executor: 'per-vu-iterations',
      exec: 'read',
      vus: 10,
      iterations: 1,
      maxDuration: `${seconds + 4 * marginSeconds}s`,
    },
    // An open loop: a message is sent when it is due, also if the last one has no response yet.
    sender: {
      executor: 'constant-arrival-rate',
      exec: 'send',
      rate: 20,
      timeUnit: '1s',
      duration: `${seconds}s`,
      startTime: `${marginSeconds}s`,
      preAllocatedVUs: 20,
    },
  },
  summaryTrendStats: ['count', 'med', 'p(90)', 'p(99)', 'max'],
};

export function setup() {
  return { room: `k6-${Date.now()}` };
}

export function read({ room }) {
  ws.connect(`${readersUrl}/rooms/${room}/websocket?after=now`, {}, (socket) => {
    socket.on('message', (text) => {
      const arrived = Date.now();
      const event = JSON.parse(text);
      if (event.kind === 'say') delay.add(arrived - event.sent);
    });
    socket.setTimeout(() => socket.close(), 1000 * (seconds + 2 * marginSeconds));
  });
}

export function send({ room }) {
  const message = { client: 'k6', name: 'Ada', text: 'x'.repeat(100), via: 'post', sent: Date.now() };
  http.post(`${url}/rooms/${room}/messages`, JSON.stringify(message), {
    headers: { 'Content-Type': 'application/json' },
  });
}
