"""Properties that must always hold: Hypothesis generates examples, and shrinks failing ones."""
