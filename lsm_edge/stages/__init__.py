"""The integer steps of the golden model, one module a stage, and nothing else. No float lives here (a test looks).

Every function is vectorised over a leading batch axis and mirrors one kernel of the same name in `firmware/kernels/`.
"""
