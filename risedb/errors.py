"""Every error RiseDB raises on purpose, sorted by what the caller can do about it.

::

    RiseDBError
    ├── NotFound            (FileNotFoundError)   name something that exists
    ├── AlreadyExists       (FileExistsError)     choose another name
    ├── InvalidInput        (ValueError)          mend the argument, row or file that is named
    ├── ReadOnly            (PermissionError)     open for writing
    ├── Busy                (BlockingIOError)     wait for the process that is named, or stop it
    ├── DiskFailure         (OSError)             the operating system failed a write: look at the disk
    │   ├── OutOfSpace                            free disk space, then run the same command again
    │   └── SyncFailed                            mend the disk, then open the index again: this writer stops
    ├── DeviceFailure       (RuntimeError)        give the device that is named less work, or leave it out
    ├── UnsupportedFormat   (ValueError)          use the version of RiseDB that is named
    ├── UnsupportedModel    (ValueError)          use another model, or report this one
    ├── Corrupt             (RuntimeError)        run ``risedb verify``; restore what is named
    └── IdentityMismatch    (ValueError)          use the model and numbers the index was built with

Each also inherits the builtin that a Python user would catch. A message names the thing, the place, what was found and
what to do. Anything else that escapes RiseDB is a bug.
"""


class RiseDBError(Exception):
    """Root of all errors that RiseDB raises on purpose."""


class NotFound(RiseDBError, FileNotFoundError):
    """A file, folder, index or id that was named does not exist."""


class AlreadyExists(RiseDBError, FileExistsError):
    """Something is in the place where a new thing should go."""


class InvalidInput(RiseDBError, ValueError):
    """An argument, a row or a file does not say what it must say."""


class ReadOnly(RiseDBError, PermissionError):
    """A change was asked of an index that was opened for reading."""


class Busy(RiseDBError, BlockingIOError):
    """Another process holds the index's writer lock."""


class DiskFailure(RiseDBError, OSError):
    """The operating system failed a write; nothing that was committed is lost."""


class OutOfSpace(DiskFailure):
    """The disk is full; nothing that was committed is lost."""


class SyncFailed(DiskFailure):
    """The operating system could not make a write durable; what reached the disk is unknown, so the writer stops."""


class DeviceFailure(RiseDBError, RuntimeError):
    """A device, or the process that worked with it, failed; nothing that was committed is lost."""


class UnsupportedFormat(RiseDBError, ValueError):
    """The folder is of a format version that this RiseDB does not read."""


class UnsupportedModel(RiseDBError, ValueError):
    """The model's head and logit transforms could not be told apart from its body."""


class Corrupt(RiseDBError, RuntimeError):
    """Stored bytes are not the bytes that were committed."""


class IdentityMismatch(RiseDBError, ValueError):
    """A query or an add used other numbers, another model or tokenizer than the index."""
