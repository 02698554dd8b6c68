"""Open and seal model weights, datasets and checkpoints in protected memory.

    import strongroom

    room = strongroom.connect()
    with room.load_safetensors("model.safetensors.sealed", asset="minilm") as tensors:
        weights = tensors["embeddings.word_embeddings.weight"]

What is opened lies in memory that is locked, kept out of core dumps and of forked children, and
zeroed when the lease ends: at the end of the `with`, on expiry, on revocation, at exit. Arrays are
views of it, read-only, and read zeros from then on. Copies that a program makes (`array.copy()`,
`bytes`, arithmetic) are ordinary memory, and its own to clear.
"""

import atexit as _atexit
import os as _os

from . import errors as errors
from ._file import SealedFile
from ._lease import Lease
from ._native import __version__, after_fork_in_child as _after_fork_in_child, end_all as _end_all, inspect
from ._room import Room, connect
from ._tensors import Tensors
from .errors import *  # noqa: F403

__all__ = ["Lease", "Room", "SealedFile", "Tensors", "__version__", "connect", "errors", "inspect", *errors.__all__]

# Zeroed before the interpreter takes its objects apart, in whatever order.
_atexit.register(_end_all)
_os.register_at_fork(after_in_child=_after_fork_in_child)
