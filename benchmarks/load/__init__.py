"""Load generators: open loop, closed loop, and readers that cost little."""
