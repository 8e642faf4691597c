"""Pure values and decisions: no I/O, no clock, no randomness of its own, no logging."""
