"""How a measurement is made: the testbed, runs, samples, statistics, theory."""
