"""Who gets in, and what can still be on time: pure rules, no I/O."""
