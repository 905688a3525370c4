// Socket.IO 4 with its Redis adapter, as its documentation sets it up; messages arrive by POST.
//
// usage: node socketio.js redis://127.0.0.1:PORT

const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

function publish(io, request, response) {
  const room = new URL(request.url, "http://localhost").searchParams.get("room");
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    io.to(room).emit("message", JSON.parse(Buffer.concat(chunks)));
    response.end("{}");
  });
}

async function main() {
  const publisher = createClient({ url: process.argv[2] });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const server = createServer();
  // Without compression, like the other systems.
  const io = new Server(server, {
    adapter: createAdapter(publisher, subscriber),
    perMessageDeflate: false,
    httpCompression: false,
  });
  // Otherwise each session keeps its first request (socket.io/docs/v4/memory-usage).
  io.engine.on("connection", (connection) => {
    connection.request = null;
  });
  io.on("connection", (socket) => {
    socket.on("join", (room, done) => {
      socket.join(room);
      done();
    });
  });
  // Socket.IO handles the requests of its own path; this handles the others.
  server.prependListener("request", (request, response) => {
    if (request.url.startsWith("/say")) publish(io, request, response);
  });
  server.listen(0, "127.0.0.1", 4096, () => {
    console.log(`socket.io: listening on http://127.0.0.1:${server.address().port}/ (redis)`);
  });
}

for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
main();
