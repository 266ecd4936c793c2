"""Liquid state machines on microcontrollers, proven bit for bit."""

__version__ = "0.1.0"
