"""Where float lives: wiring, calibration, fitting, evaluation. What leaves is a `Model`, all integers."""
