"""The scripts that the workflow runs; each can also be run by hand as `python -m scripts.NAME`."""

import contextlib
import os
from importlib.machinery import SourceFileLoader

_keep = SourceFileLoader.set_data


def _keep_whole(loader, path, data, **options):
    """Keep a compiled module, unless a full disk has cut it short.

    Python itself would keep the part, and no run would import the module again.
    """
    _keep(loader, path, data, **options)
    with contextlib.suppress(OSError):
        if os.path.getsize(path) != len(data):
            os.unlink(path)


SourceFileLoader.set_data = _keep_whole
