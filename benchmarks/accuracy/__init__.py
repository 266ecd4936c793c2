"""Liquids, their ablations and outside peers on the same recordings, splits and frames: `docs/accuracy.md`.

    make bench-accuracy DATA=folder-of-the-data-sets

A sample's way: `tasks` (recordings, folds) -> `scene` (frames, noise, copies) -> `liquids`, `peers` (a classifier) ->
`result` (what it got right, as JSON) -> `page` (the tables). `tables` says which rows there are, and of which YAML
file.
"""
