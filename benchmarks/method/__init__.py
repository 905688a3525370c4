"""How a measurement works: the server under test, runs, samples, statistics, theory."""
