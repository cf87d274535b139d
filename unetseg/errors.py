"""What can go wrong, as a tree.

::

    UnetsegError
    ├── UsageError          the call or the settings are wrong; nothing was done (exit status 2)
    │   └── NoScansError        a folder holds none; a night has nothing to segment then
    ├── BadFileError        one file cannot be used; a batch quarantines it and goes on
    │   └── MissingMaskError    there is none where a mask or guide should be
    ├── DataError           the data as a whole cannot be used: too few groups, too many failures
    │   └── DamagedFileError    one of unetseg's own files is no longer what was written
    ├── BundleError         a model cannot be trusted: damaged, unknown schema, wrong result
    ├── BusyError           another run works on the project, and this one shall not wait for it
    ├── ClusterError        a Dask cluster is lost, or cannot do the work; what is finished stays
    └── WorkerDiedError     those who worked on one unit died; it fails, the batch goes on
"""

__all__ = [
    "BadFileError",
    "BundleError",
    "BusyError",
    "ClusterError",
    "DamagedFileError",
    "DataError",
    "MissingMaskError",
    "MovedError",
    "NoScansError",
    "UnetsegError",
    "UsageError",
    "WorkerDiedError",
]


class UnetsegError(Exception):
    """Base of all errors that unetseg raises on purpose; the message says what to do."""


class UsageError(UnetsegError, ValueError):
    """The arguments or settings are wrong; raised before anything is written."""


class NoScansError(UsageError):
    """A folder that is there holds no scans."""


class BadFileError(UnetsegError, ValueError):
    """One scan, mask or guide cannot be used; the message names the file and the rule."""


class MissingMaskError(BadFileError):
    """A scan has no file for a class or guide."""


class DataError(UnetsegError, ValueError):
    """The data set as a whole cannot be used."""


class DamagedFileError(DataError):
    """One of unetseg's own JSON files cannot be read."""


class MovedError(DataError):
    """Another process has changed what a decision was made from; decide again."""


class BundleError(UnetsegError, ValueError):
    """A trained model is damaged, from another schema, or does not reproduce its own test output."""


class BusyError(UnetsegError, RuntimeError):
    """Another run works on the project; the message tells since when, and whose it is."""


class ClusterError(UnetsegError, RuntimeError):
    """A Dask cluster was lost while it worked, or has workers that cannot do the work."""


class WorkerDiedError(UnetsegError, RuntimeError):
    """The processes that worked on one unit died, again and again."""
