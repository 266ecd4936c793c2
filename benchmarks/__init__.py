"""Measurements too long for the tests; see the Makefile."""
