"""Results as text, tables, plots, and one HTML page."""
