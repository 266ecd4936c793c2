"""Recordings in, labelled integer clips with groups and splits out.

Enters: a folder of WAV files and the `dataset` section of a config. Leaves: `Recordings`, whose clips are mono int16
at the front end's rate, and one or more `Fold`s of them. The same files give the same integers in the same order on
every machine; a file that cannot be used is named, never silently dropped.
"""

from lsm_edge.dataset.recordings import Clip, Recordings, load_recordings
from lsm_edge.dataset.split import Fold, split_recordings
from lsm_edge.dataset.wav import decode_wav

__all__ = ["Clip", "Fold", "Recordings", "decode_wav", "load_recordings", "split_recordings"]
