"""Socket.IO over Engine.IO: a session per client, for comparison."""
