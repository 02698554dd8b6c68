"""Exceptions, each named after what went wrong; the same tree as the Rust SDK's errors.

What can be acted on is an attribute. All can be pickled, so that they travel out of worker processes.
"""

from __future__ import annotations

__all__: list[str] = []


def _public(cls: type) -> type:
    __all__.append(cls.__name__)
    return cls


@_public
class StrongroomError(Exception):
    """Anything that strongroom did not do."""

    def __init__(self, message: str = "", **attributes: object) -> None:
        super().__init__(message)
        self._message = message
        for name, value in attributes.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        return self._message


@_public
class Refused(StrongroomError):
    """The vault answered with a refusal. With `decision_id`, its owner's `strongroom explain` tells more."""

    code: str
    status: int
    title: str
    detail: str | None
    field: str | None
    row: str | None
    reasons: list[str]
    decision_id: str | None
    retry_after: int | None


@_public
class Unreachable(StrongroomError):
    """The vault could not be reached."""

    url: str
    cause: str


@_public
class PatienceOver(StrongroomError):
    """The vault stayed busy or away for too long; `__cause__` is why the last attempt failed."""

    waited: float
    attempts: int


@_public
class MalformedAnswer(StrongroomError):
    """An answer that the protocol does not allow."""


@_public
class RequestError(StrongroomError, ValueError):
    """What was asked for cannot be asked of a vault."""


@_public
class NotBelieved(StrongroomError):
    """The answer is not from a vault that this client believes. Nothing was opened."""


@_public
class JoinError(StrongroomError):
    """The join file, or the node's configuration, cannot be used."""


@_public
class ObligationError(StrongroomError):
    """Policy obliges the holder to something that cannot be met here."""


@_public
class LeaseOver(StrongroomError):
    """The lease is over. Its keys and plaintext are zero."""


@_public
class LeaseExpired(LeaseOver):
    """Its time ran out, and nothing prolonged it."""


@_public
class LeaseRevoked(LeaseOver):
    """A person, or a rule, took it back."""

    reason: str | None


@_public
class LeaseEnded(LeaseOver):
    """Its holder ended it."""


@_public
class NoKey(StrongroomError):
    """The lease holds no key for this, or the file was closed."""


@_public
class CollectError(StrongroomError):
    """This machine's devices gave no evidence."""


@_public
class EnvelopeError(StrongroomError):
    """The envelope that the keys came in was refused."""


@_public
class NoRandomness(StrongroomError):
    """The operating system gives no random bytes."""


@_public
class TokenExposed(StrongroomError):
    """Others than its owner may read a token file."""

    path: str
    mode: int


@_public
class TokenMalformed(StrongroomError):
    """A token file does not hold one token."""

    path: str


@_public
class FileError(StrongroomError, OSError):
    """A file could not be read or written; `errno` and `filename` as of any OSError."""


@_public
class FileMissing(FileError, FileNotFoundError):
    """There is no such file."""


@_public
class FileForbidden(FileError, PermissionError):
    """The file may not be read or written."""


@_public
class NotRegularFile(FileError):
    """A pipe, a device or a directory stands where a file is wanted."""


@_public
class MemoryProtectionError(StrongroomError):
    """Memory could not be protected. Nothing was opened into weaker memory instead."""


@_public
class NotEnoughMemory(MemoryProtectionError, MemoryError):
    """There is not that much memory."""

    needed: int
    available: int
    bound: str


@_public
class LockLimit(MemoryProtectionError):
    """The process may not lock that much memory: raise RLIMIT_MEMLOCK, or give it CAP_IPC_LOCK."""

    needed: int
    locked: int
    limit: int


@_public
class NoMemfdSecret(MemoryProtectionError):
    """The kernel has no memfd_secret(2), and nothing less was accepted."""


@_public
class ForkedError(MemoryProtectionError):
    """This is a forked child, where neither keys nor plaintext are. Start children with spawn, or connect again."""


@_public
class TensorsError(StrongroomError, ValueError):
    """These tensors cannot be sealed."""


@_public
class NotSafetensors(TensorsError):
    """The plaintext is no safetensors file."""


@_public
class SealedError(StrongroomError):
    """A sealed file could not be read or written."""


@_public
class NotSealed(SealedError):
    """The file does not begin as sealed files do."""


@_public
class UnsupportedVersion(SealedError):
    """A later version of the format."""

    found: str


@_public
class Truncated(SealedError):
    """The file was cut or extended, or is still being written."""

    expected: int | None
    actual: int


@_public
class WrongKey(SealedError):
    """The key is not this object's, or the header was changed: the two cannot be told apart."""


@_public
class HeaderTampered(SealedError):
    """The header holds what no writer writes."""

    what: str


@_public
class IndexTampered(SealedError):
    """The encrypted index was changed."""

    what: str


@_public
class ChunkTampered(SealedError):
    """A chunk was changed. Nothing of the read was handed out."""

    chunk: int
    offset: int


@_public
class HashMismatch(SealedError):
    """Another holder of the key replaced a chunk."""

    chunk: int


@_public
class HashesMissing(SealedError):
    """The asset requires chunk hashes, and the file has none."""


@_public
class ObjectReplaced(SealedError):
    """The file is another asset, version or object than expected. No key was asked for."""

    what: str
    expected: str
    found: str


@_public
class KeyNotGranted(SealedError):
    """No key was granted for this object."""

    asset: str
    version: int
    object: str


@_public
class LimitExceeded(SealedError):
    """A size is beyond what the format allows."""

    what: str
    value: int
    limit: int


@_public
class OutOfRange(SealedError):
    """A range that does not lie within the plaintext."""


@_public
class Cancelled(SealedError):
    """The work was asked to stop."""


@_public
class Poisoned(SealedError):
    """This writer must not encrypt any more: begin a new object."""

    why: str


@_public
class LengthChanged(SealedError):
    """What was sealed changed its length meanwhile."""

    expected: int
    actual: int


@_public
class NotWritable(SealedError):
    """What was asked to be written is not possible."""

    what: str


@_public
class TargetExists(SealedError, FileExistsError):
    """There is a file under that name already: say `replace=True` to replace it."""


@_public
class DiskFull(SealedError, OSError):
    """No space, quota or file size is left. Nothing stands under the final name."""
