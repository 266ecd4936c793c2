"""Differential tests: random models on the golden model, host compilers and emulated cores, integer by integer."""
