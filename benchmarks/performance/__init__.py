"""`make bench`: what models cost on emulated cores, and how fast the same kernels are on this machine.

Writes docs/performance.md. Instructions on cores are exact; times on this machine are given as ratios of one run.
"""
