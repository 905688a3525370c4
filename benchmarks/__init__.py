"""Measurements of the six transports, made from outside, over the public wire contract only."""
