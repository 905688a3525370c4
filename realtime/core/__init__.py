"""The chat itself: events, the log of a room, the hub, presence.  No Tornado, no Redis."""
