"""Differential tests: random models on the golden model, on host compilers and on emulated cores, integer by integer."""
