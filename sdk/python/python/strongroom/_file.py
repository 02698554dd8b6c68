"""A sealed file as a binary file object."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import _native
    from ._lease import Lease


class SealedFile(io.RawIOBase):
    """The plaintext of a sealed file: read-only, seekable, decrypted as it is read.

    `read` gives `bytes`, which are ordinary memory that nobody zeroes. `readinto` copies to a buffer
    of your choice, and to no other ordinary memory: the chunk that was read last in part stays in locked
    memory until the file is closed. Threads may share it; each read moves its one position.
    """

    def __init__(self, native: _native.File, lease: Lease | None, name: str) -> None:
        super().__init__()
        self._native = native
        self._lease = lease
        self._position = 0
        self.name = name
        self.mode = "rb"

    @property
    def size(self) -> int:
        """Length of the plaintext, bytes."""
        return len(self._native)

    def readable(self) -> bool:
        self._check_open()
        return True

    def seekable(self) -> bool:
        self._check_open()
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence)
        if base is None:
            raise ValueError(f"whence is 0, 1 or 2, not {whence}")
        if base + offset < 0:
            raise ValueError(f"byte {base + offset} lies before the beginning")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, fewer at the end only; all that are left without a size."""
        self._check_open()
        if size is None or size < 0:
            size = max(self.size - self._position, 0)
        data = self._native.read_at(self._position, size)
        self._position += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        """Fills a writable buffer, less at the end only; how many bytes that were."""
        self._check_open()
        with memoryview(buffer) as view:
            if view.nbytes == 0:
                return 0
            with view.cast("B") as data:
                count = self._native.read_into(self._position, data)
        self._position += count
        return count

    def close(self) -> None:
        """Forgets the keys of this file, and ends the lease that was taken for it."""
        if self.closed:
            return
        super().close()
        self._native.close()
        if self._lease is not None:
            self._lease.end()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
        self._native.check()

    def __del__(self) -> None:
        # Not RawIOBase's, which would close it: a lease that nobody holds any more ends by itself.
        pass
