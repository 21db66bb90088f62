"""Files with secrets in them: who may read them."""

import os
import stat
from pathlib import Path


def others_that_read(path: Path) -> str:
    """Who, besides those who should, has access to a file with a secret; empty for nobody, or no such file.

    A group's right is the choice of whoever owns the file: of another user (root: `chown root:executor`, or systemd's
    credentials), it is how this service is let in; of the service's own user, it lets others in.
    """
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ""  # whoever reads it will say so
    if not stat.S_ISREG(found.st_mode):
        return ""  # as above: a folder is to be opened to nobody by advice of ours
    if found.st_mode & 0o007:
        return "everybody on this machine"
    return "its group" if found.st_mode & 0o070 and found.st_uid == os.geteuid() else ""


def private(path: Path) -> str:
    """What a file with a secret must be, and how it becomes that."""
    must = f"readable by nobody but its owner (chmod 600 {path})"
    if not _lets_a_service_in(path):
        return must
    return f"{must}; where its group is how the service's user is let in, leave it and be that user (sudo -u)"


def _lets_a_service_in(path: Path) -> bool:
    """Whether it looks as if root had shared it with a service's group: then `chmod` would lock that service out."""
    found = path.stat()
    return os.geteuid() == 0 and found.st_gid != os.getegid() and not found.st_mode & 0o007
