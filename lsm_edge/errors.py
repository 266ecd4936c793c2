"""What can go wrong, as one small tree of exceptions.

    LsmEdgeError
    ├── ConfigError     the YAML file or an option: which key, which value, what is allowed
    ├── DataError       recordings, labels, splits
    ├── ModelError      a model file that is damaged, foreign or from a newer format
    ├── RangeError      an integer that would not fit where it has to
    ├── BuildError      a compiler, PlatformIO or an emulator is missing or failed
    └── MismatchError   a check ran and found a difference

The command line prints the message without a traceback and exits with `exit_code`.
"""


class LsmEdgeError(Exception):
    """Anything that is the user's to mend; the message says what and how."""

    exit_code = 2


class ConfigError(LsmEdgeError):
    """A setting is missing, misspelt or out of range."""


class DataError(LsmEdgeError):
    """Recordings cannot be used as they are."""


class ModelError(LsmEdgeError):
    """A model file cannot be read."""


class RangeError(LsmEdgeError):
    """A value does not fit its integer type, its buffer or its board."""


class BuildError(LsmEdgeError):
    """A tool is missing or failed."""


class MismatchError(LsmEdgeError):
    """Two implementations disagree."""

    exit_code = 1
