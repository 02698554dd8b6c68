"""Tensors over protected memory, and tensors on their way into a sealed file."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import TensorsError

if TYPE_CHECKING:
    from . import _native
    from ._lease import Lease

_NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
}

#: Types that numpy has with ml_dtypes only; without it their bits come as unsigned integers.
_ML_DTYPES: dict[str, tuple[str, np.dtype[Any]]] = {
    "BF16": ("bfloat16", np.dtype("<u2")),
    "F8_E4M3": ("float8_e4m3fn", np.dtype("u1")),
    "F8_E5M2": ("float8_e5m2", np.dtype("u1")),
    "F8_E8M0": ("float8_e8m0fnu", np.dtype("u1")),
}

_TORCH = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}


def _ml_dtype(name: str) -> np.dtype[Any] | None:
    try:
        import ml_dtypes
    except ImportError:
        return None
    found = getattr(ml_dtypes, _ML_DTYPES[name][0], None)
    if found is None:
        return None
    dtype: np.dtype[Any] = np.dtype(found)
    return dtype


def _numpy_dtype(name: str) -> np.dtype[Any]:
    if name in _NUMPY:
        return _NUMPY[name]
    if name in _ML_DTYPES:
        return _ml_dtype(name) or _ML_DTYPES[name][1]
    raise TensorsError(f"numpy has no element type for {name}")


def check_framework(framework: str) -> None:
    """Raises unless tensors can be had so: before a key is asked for."""
    if framework not in ("np", "pt"):
        raise ValueError(f'framework is "np" or "pt", not {framework!r}')
    if framework == "pt":
        try:
            importlib.import_module("torch")
        except ImportError as missing:
            raise ImportError('framework="pt" needs torch, which cannot be imported here') from missing


class Tensors(Mapping[str, Any]):
    """Tensors by name, each a view of protected memory; numpy's are read-only.

    An array keeps the memory and the lease: as long as one lives, the lease is renewed. Leaving the
    `with`, or `close`, zeroes the memory under all of them. Looking a tensor up raises once the lease
    is over, and in a forked child.
    """

    def __init__(self, view: _native.View, lease: Lease | None, framework: str) -> None:
        self._view = view
        self._lease = lease
        self._framework = framework
        tensors, self._metadata = view.tensors()
        self._places = {name: (dtype, shape, start, end) for name, dtype, shape, start, end in tensors}
        self._made: dict[str, Any] = {}

    @property
    def metadata(self) -> dict[str, str]:
        """The texts that the file's writer put beside the tensors."""
        return dict(self._metadata)

    @property
    def nbytes(self) -> int:
        """Bytes of protected memory that they take, the file's header included."""
        return len(self._view)

    def dtype(self, name: str) -> str:
        """A tensor's element type as the format writes it: `F32`, `BF16`."""
        return self._places[name][0]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self._places[name][1])

    def close(self) -> None:
        """Zeroes the memory, and ends the lease that was taken for it."""
        self._view.close()
        self._made.clear()
        if self._lease is not None:
            self._lease.end()

    def __getitem__(self, name: str) -> Any:
        self._view.check()
        if name not in self._made:
            make = self._numpy if self._framework == "np" else self._torch
            self._made[name] = make(*self._places[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> Tensors:
        self._view.check()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<strongroom.Tensors: {len(self)} tensors, {self.nbytes} bytes>"

    def _numpy(self, name: str, shape: list[int], start: int, end: int) -> np.ndarray[Any, Any]:
        dtype = _numpy_dtype(name)
        return np.frombuffer(self._view, dtype, (end - start) // dtype.itemsize, start).reshape(shape)

    def _torch(self, name: str, shape: list[int], start: int, end: int) -> Any:
        import torch

        known = getattr(torch, _TORCH.get(name, ""), None)
        if known is None:
            raise TensorsError(f"torch has no element type for {name}")
        if start == end:
            return torch.empty(shape, dtype=known)
        with warnings.catch_warnings():
            # That it must not be written is what is wanted.
            warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
            return torch.frombuffer(self._view, dtype=known, count=math.prod(shape), offset=start).reshape(shape)


def _names() -> dict[np.dtype[Any], str]:
    names = {dtype: name for name, dtype in _NUMPY.items()}
    for name in _ML_DTYPES:
        if (dtype := _ml_dtype(name)) is not None:
            names[dtype] = name
    return names


def buffers(tensors: Mapping[str, Any], contiguous: bool) -> list[tuple[str, str, list[int], Any]]:
    """Each tensor's name, type, shape, and its bytes in place."""
    names = _names()
    found = []
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"a tensor's name is a str, not {type(name).__name__}")
        if type(tensor).__module__.partition(".")[0] == "torch":
            found.append(_of_torch(name, tensor, contiguous))
            continue
        if not isinstance(tensor, (np.ndarray, np.generic)):
            raise TypeError(f"tensor `{name}` is a {type(tensor).__name__}, not an array: nothing is converted unasked")
        array = np.asarray(tensor)
        dtype = names.get(array.dtype)
        if dtype is None:
            raise TensorsError(f"tensor `{name}`: the safetensors format has no element type {array.dtype}")
        if not array.flags.c_contiguous:
            if not contiguous:
                raise TensorsError(
                    f"tensor `{name}` is not contiguous: pass contiguous=True to seal a copy, which is made in ordinary memory"
                )
            array = np.ascontiguousarray(array)
        found.append((name, dtype, list(array.shape), array.reshape(-1).view(np.uint8)))
    return found


def _of_torch(name: str, tensor: Any, contiguous: bool) -> tuple[str, str, list[int], Any]:
    import torch

    dtype = next((ours for ours, theirs in _TORCH.items() if getattr(torch, theirs, None) == tensor.dtype), None)
    if dtype is None:
        raise TensorsError(f"tensor `{name}`: the safetensors format has no element type {tensor.dtype}")
    if tensor.device.type != "cpu":
        raise TensorsError(f"tensor `{name}` is on {tensor.device}: move it to the CPU first, which makes a copy in ordinary memory")
    tensor = tensor.detach()
    if not tensor.is_contiguous():
        if not contiguous:
            raise TensorsError(
                f"tensor `{name}` is not contiguous: pass contiguous=True to seal a copy, which is made in ordinary memory"
            )
        tensor = tensor.contiguous()
    return name, dtype, list(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy()
