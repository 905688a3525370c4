"""The broker over Redis: scripts, pipelines, pub/sub, and the three topologies."""
