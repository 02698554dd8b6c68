"""A connection to a vault."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, Union

from . import _native
from ._file import SealedFile
from ._lease import Lease, Path
from ._progress import Progress
from ._tensors import Tensors, check_framework

Paths = Union[Path, Iterable[Path]]


def connect(
    join_file: Path | None = None,
    *,
    home: Path | None = None,
    patience: float = 60.0,
    accept_unlocked_memory: bool = False,
) -> Room:
    """Connects to the vault that this machine has joined.

    `home` is where the command line keeps what it knows (`STRONGROOM_HOME`, else `/etc/strongroom` for
    root and `~/.config/strongroom` for others); `join_file` another join file than the one there.
    `patience` bounds how long one request may wait for a vault that is busy or away, in seconds: until it is
    over the request is tried again. Ends and renewals of leases are tried six times at the most.

    Makes the process undumpable and untraceable by others of the same user, for good.
    """
    directory = _home() if home is None else pathlib.Path(home)
    join = directory / "join.json" if join_file is None else pathlib.Path(join_file)
    return Room(_native.connect(join, directory / "node.json", patience, accept_unlocked_memory))


def _home() -> pathlib.Path:
    if set_home := os.environ.get("STRONGROOM_HOME"):
        return pathlib.Path(set_home)
    if os.geteuid() == 0:
        return pathlib.Path("/etc/strongroom")
    return pathlib.Path.home() / ".config" / "strongroom"


class Room:
    """A connection to a vault that is believed. Threads may share it; a forked child may not."""

    def __init__(self, native: _native.Room) -> None:
        self._native = native

    @property
    def vault_id(self) -> str:
        """The vault's id."""
        return self._native.vault_id

    def lease(
        self,
        *,
        read: Mapping[str, Paths] | None = None,
        versions: Iterable[str] = (),
        write: Iterable[str] = (),
        keep: bool = True,
    ) -> Lease:
        """Asks for keys on fresh evidence.

        `read` names sealed files by the asset that is expected of them, `versions` whole key versions
        (`"corpus"` for the current one, `"corpus@2"`), `write` the assets to seal new objects of.
        Without `keep` nobody renews the lease or listens for its revocation.
        """
        files = [(asset, os.fspath(path), None) for asset, paths in (read or {}).items() for path in _several(paths)]
        return Lease(self._native.lease(files, _names(versions), _names(write), keep))

    def open(self, path: Path, *, asset: str, object: str | None = None) -> SealedFile:
        """A sealed file as a binary file object, under a lease that ends when it is closed."""
        lease = self._lease_of(path, asset, object)
        try:
            return SealedFile(lease._native.open(os.fspath(path), asset, object), lease, os.fspath(path))
        except BaseException:
            lease.end()
            raise

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
        """The tensors of a sealed safetensors file, in protected memory, under a lease of their own.

        A `with` ends the lease and zeroes them. Otherwise the lease lives as long as they or any
        array of them. `framework`: "np" for numpy, "pt" for torch.
        """
        check_framework(framework)
        lease = self._lease_of(path, asset, object)
        try:
            return lease._load(lease, path, asset, object, framework, threads, progress)
        except BaseException:
            lease.end()
            raise

    def save_safetensors(self, tensors: Mapping[str, Any], path: Path, *, asset: str, **options: Any) -> str:
        """Seals tensors under a lease for this one object; options as of `Lease.save_safetensors`."""
        with self.lease(write=[asset]) as lease:
            return lease.save_safetensors(tensors, path, asset=asset, **options)

    def _lease_of(self, path: Path, asset: str, object: str | None) -> Lease:
        """For one file, and refused before a key is asked for if it is another object."""
        return Lease(self._native.lease([(asset, os.fspath(path), object)], [], []))

    def seal(self, source: Path, path: Path | None = None, *, asset: str, **options: Any) -> str:
        """Seals a file under a lease for this one object; options as of `Lease.seal`."""
        with self.lease(write=[asset]) as lease:
            return lease.seal(source, path, asset=asset, **options)


def _several(paths: Paths) -> list[Path]:
    return [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)


def _names(names: Iterable[str]) -> list[str]:
    if isinstance(names, str):
        raise TypeError(f"a list of names is wanted, not {names!r}")
    return list(names)
