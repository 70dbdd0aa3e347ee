"""The error tree of the load test. `__main__` catches its base, prints the text and ends with status 2.

LoadTestError           what the user can put right; the text names the rule, the value received and the remedy
├── OptionError         an option has a value that cannot be used
├── ArrivalsError       an arrival process cannot be read
├── WorkloadError       the texts, the images or the mix cannot be used
├── ObjectiveError      an objective cannot be read
├── ContenderError      a file of contenders cannot be read
├── LimitError          the time limit leaves no time for what is asked
├── UnreachableError    the service answers no request
├── SaturationError     the service keeps up with no rate
├── NotStartedError     a server ended, or was not ready in time
├── MissingError        a package, a library or a chip that is measured is not there
├── WrkMissingError     wrk is not installed
└── LoadGenMissingError MLPerf LoadGen is not installed
"""

from __future__ import annotations


class LoadTestError(Exception):
    """Base of all errors that are raised on purpose; the text is meant for a user's eyes."""


class OptionError(LoadTestError):
    """An option has a value that cannot be used."""


class ArrivalsError(LoadTestError):
    """An arrival process cannot be read."""


class WorkloadError(LoadTestError):
    """The texts, the images or the mix cannot be used."""


class ObjectiveError(LoadTestError):
    """An objective cannot be read."""


class ContenderError(LoadTestError):
    """A file of contenders cannot be read."""


class LimitError(LoadTestError):
    """The time limit leaves no time for what is asked."""


class UnreachableError(LoadTestError):
    """The service answers no request."""


class SaturationError(LoadTestError):
    """The service keeps up with no rate that was tried."""


class NotStartedError(LoadTestError):
    """A server ended, or was not ready in time; the text has the end of its log."""


class MissingError(LoadTestError):
    """A package, a library or a chip that is measured is not there."""


class WrkMissingError(LoadTestError):
    """wrk, which sends the load, is not installed."""


class LoadGenMissingError(LoadTestError):
    """MLPerf LoadGen, the second client, is not installed."""
