"""Rules: pure functions from (state, event) to (state, commands). No I/O, no clock, no Ray."""
