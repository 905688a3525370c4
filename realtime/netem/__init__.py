"""Network emulation: a proxy that adds delay, limits the rate, buffers or disconnects."""
