"""Files that are whole or not there: written under a temporary name, then renamed."""

import glob
import os
from pathlib import Path


def write_atomically(path, data):
    """Write bytes to `path` so that it holds either its old content or all of the new."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say which file had no room
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path):
    """Remove what processes that were killed while they wrote `path` have left; for the one process that may write it now."""
    path = Path(path)
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        temporary.unlink(missing_ok=True)
