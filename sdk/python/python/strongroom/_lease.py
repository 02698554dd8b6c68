"""The time-limited right to hold keys."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Union

from ._file import SealedFile
from ._progress import Progress, reporting
from ._tensors import Tensors, buffers, check_framework

if TYPE_CHECKING:
    from . import _native
    from .errors import LeaseOver

Path = Union[str, "os.PathLike[str]"]


class Lease:
    """Keys, as long as the lease lives; a context manager that zeroes them and what they opened.

    Background threads keep it: they renew it when that is due, and zero everything at once when the
    vault says that it was revoked. It ends with the `with`, by `end`, at exit, and when neither it nor
    anything that was opened under it is held any more.
    """

    def __init__(self, native: _native.Lease) -> None:
        self._native = native

    @property
    def id(self) -> str:
        """Its id."""
        return self._native.id

    @property
    def decision_id(self) -> str:
        """The decision that granted it."""
        return self._native.decision_id

    @property
    def obligations(self) -> Any:
        """What policy obliges its holder to do."""
        return json.loads(self._native.obligations)

    @property
    def handling(self) -> Any:
        """How keys and plaintext are held, as the ledger has it."""
        return json.loads(self._native.handling)

    def check(self) -> None:
        """Raises `LeaseOver` if it is over."""
        self._native.check()

    def renew(self) -> None:
        """Proves possession now, which prolongs it until fresh evidence is due."""
        self._native.renew()

    def reattest(self) -> None:
        """Prolongs it on fresh evidence now."""
        self._native.reattest()

    def on_ending(self, callback: Callable[[LeaseOver | None, float], object], *, before: float = 60.0) -> None:
        """Has `callback(over, left)` called when the lease is about to end, to write a checkpoint and leave.

        `before` seconds before its expiry, unless something prolongs it in time, with `None` and the
        seconds left; and when it expired or was revoked, with the reason. A revocation leaves no time: then
        the second call is the only one. Of an end by its own holder (`end`, a `with`) nobody is told. Calls
        are made on threads of their own, and nothing waits for them.

        The callback, and what it refers to, is let go when the lease is over, however it ends. Until then it
        keeps that alive: one that refers to tensors keeps their lease from ending by itself when nothing else
        needs it. End such a lease by `with` or `end()`.
        """
        self._native.on_ending(callback, before)

    def end(self) -> None:
        """Zeroes keys and plaintext, then tells the vault. Ending twice does nothing."""
        self._native.end()

    def open(self, path: Path, *, asset: str, object: str | None = None) -> SealedFile:
        """A sealed file as a binary file object."""
        return SealedFile(self._native.open(os.fspath(path), asset, object), None, os.fspath(path))

    def load_safetensors(
        self,
        path: Path,
        *,
        asset: str,
        object: str | None = None,
        framework: str = "np",
        threads: int = 0,
        progress: Progress = None,
    ) -> Tensors:
        """The tensors of a sealed safetensors file, in protected memory."""
        return self._load(None, path, asset, object, framework, threads, progress)

    def save_safetensors(
        self,
        tensors: Mapping[str, Any],
        path: Path,
        *,
        asset: str,
        metadata: Mapping[str, str] | None = None,
        contiguous: bool = False,
        replace: bool = False,
        threads: int = 0,
        progress: Progress = None,
    ) -> str:
        """Seals tensors straight from their memory; the object's id.

        They are not to be written meanwhile. One that is not contiguous is refused, unless
        `contiguous` says that a copy in ordinary memory is acceptable.
        """
        given = buffers(tensors, contiguous)
        texts = None if metadata is None else dict(metadata)
        with reporting(progress, "sealing") as report:
            return self._native.save(given, texts, os.fspath(path), asset, replace, threads, report)

    def seal(
        self,
        source: Path,
        path: Path | None = None,
        *,
        asset: str,
        replace: bool = False,
        threads: int = 0,
        progress: Progress = None,
    ) -> str:
        """Seals a file; without `path`, under its name with `.sealed`. The object's id."""
        target = os.fspath(source) + ".sealed" if path is None else os.fspath(path)
        with reporting(progress, "sealing") as report:
            return self._native.seal(os.fspath(source), target, asset, replace, threads, report)

    def _load(
        self,
        owned: Lease | None,
        path: Path,
        asset: str,
        object: str | None,
        framework: str,
        threads: int,
        progress: Progress,
    ) -> Tensors:
        check_framework(framework)
        with reporting(progress, "opening") as report:
            view = self._native.load(os.fspath(path), asset, object, threads, report)
        return Tensors(view, owned, framework)

    def __enter__(self) -> Lease:
        self.check()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
