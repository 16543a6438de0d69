"""Writing a small file so that a reader finds the old or the new content, never a part."""

import os
from pathlib import Path

FILE_MODE = 0o600


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace the content of a file; with `durable` it is there after a power failure as well."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(descriptor)
    new.replace(path)
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
