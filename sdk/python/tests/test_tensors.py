"""Tensors: the same as they were, in place, read-only, pinned, and gone with the lease."""

import gc
import io
import subprocess
import sys
import weakref

import numpy as np
import pytest
import safetensors.numpy

import strongroom


def test_tensors_are_what_was_sealed(room, sealed, tensors):
    with room.load_safetensors(sealed, asset="model") as opened:
        assert set(opened) == set(tensors) and len(opened) == len(tensors)
        assert opened.metadata == {"format": "np"}
        for name, expected in tensors.items():
            assert opened[name].dtype == expected.dtype and opened[name].shape == expected.shape
            np.testing.assert_array_equal(opened[name], expected)
            assert opened.shape(name) == expected.shape
        assert opened.dtype("weight") == "F32"


def test_others_read_what_was_sealed_and_the_other_way_round(room, tensors, sealed, tmp_path):
    with room.open(sealed, asset="model") as file:
        theirs = safetensors.numpy.load(file.read())
    for name, expected in tensors.items():
        np.testing.assert_array_equal(theirs[name], expected)
    plain = tmp_path / "theirs.safetensors"
    safetensors.numpy.save_file(tensors, plain)
    room.seal(plain, asset="model")
    with room.load_safetensors(f"{plain}.sealed", asset="model") as opened:
        for name, expected in tensors.items():
            np.testing.assert_array_equal(opened[name], expected)


def test_arrays_are_views_that_cannot_be_written(room, sealed):
    with room.load_safetensors(sealed, asset="model") as opened:
        weight = opened["weight"]
        assert not weight.flags.writeable and not weight.flags.owndata
        assert opened["weight"] is weight
        with pytest.raises(ValueError):
            weight[0, 0] = 1
        with pytest.raises(ValueError):
            weight.flags.writeable = True
        assert np.shares_memory(weight, np.frombuffer(opened._view, np.uint8))
        assert opened._view.exports >= 1
        with pytest.raises((BufferError, TypeError)):
            io.BytesIO(b"long enough").readinto(opened._view)


def test_leaving_the_with_zeroes_under_the_hands_of_those_who_hold_arrays(room, sealed):
    with room.load_safetensors(sealed, asset="model") as opened:
        weight = opened["weight"]
        copy = weight.copy()
        assert weight.any()
    assert not weight.any(), "the array shows plaintext after the lease has ended"
    assert copy.any()
    with pytest.raises(strongroom.LeaseEnded):
        opened["weight"]
    with pytest.raises(strongroom.LeaseOver):
        opened._view.check()


def test_an_exception_zeroes_too(room, sealed):
    with pytest.raises(ZeroDivisionError):
        with room.load_safetensors(sealed, asset="model") as opened:
            weight = opened["weight"]
            assert weight.any()
            1 / 0
    assert not weight.any()


def test_an_array_alone_keeps_memory_and_lease(room, sealed, tensors):
    opened = room.load_safetensors(sealed, asset="model")
    weight, view = opened["weight"], weakref.ref(opened)
    lease = opened._lease.id
    part = weight[7:9, ::2]
    del opened, weight
    gc.collect()
    assert view() is None
    np.testing.assert_array_equal(part, tensors["weight"][7:9, ::2])
    assert lease in leases()
    del part
    gc.collect()
    assert lease not in leases()


def leases():
    """Ids of the leases of this process that live."""
    return strongroom._native.live_leases()


def test_one_lease_for_several_files_zeroes_all_of_them(room, sealed, sealed_bytes, tensors):
    with room.lease(read={"model": [sealed, sealed_bytes]}) as lease:
        first = lease.load_safetensors(sealed, asset="model")
        second = lease.load_safetensors(sealed, asset="model")
        one, two = first["weight"], second["weight"]
        assert not np.shares_memory(one, two)
        first.close()
        assert not one.any()
        np.testing.assert_array_equal(two, tensors["weight"])
        with pytest.raises(ValueError, match="closed"):
            first["weight"]
        with pytest.raises(strongroom.NotSafetensors):
            lease.load_safetensors(sealed_bytes, asset="model")
    assert not two.any()


def test_saving_goes_by_the_arrays_own_bytes_and_copies_only_when_told(room, tmp_path, tensors):
    path = tmp_path / "x.sealed"
    turned = {"turned": tensors["weight"].T}
    with room.lease(write=["model"]) as lease:
        with pytest.raises(strongroom.TensorsError, match="contiguous=True"):
            lease.save_safetensors(turned, path, asset="model")
        assert not path.exists()
        lease.save_safetensors(turned, path, asset="model", contiguous=True)
        opened = lease.load_safetensors(path, asset="model")
        np.testing.assert_array_equal(opened["turned"], turned["turned"])
        with pytest.raises(strongroom.TargetExists):
            lease.save_safetensors(turned, path, asset="model", contiguous=True)
        with pytest.raises(strongroom.TensorsError, match="complex128"):
            lease.save_safetensors({"a": np.zeros(3, complex)}, path, asset="model", replace=True)
        lease.save_safetensors({"scalar": np.float32(2)}, path, asset="model", replace=True)
        assert lease.load_safetensors(path, asset="model")["scalar"] == 2
        lease.save_safetensors(turned, path, asset="model", contiguous=True, replace=True)
        with pytest.raises(TypeError, match="list"):
            lease.save_safetensors({"a": [1, 2]}, path, asset="model", replace=True)
        with pytest.raises(strongroom.TensorsError, match="__metadata__"):
            lease.save_safetensors({"__metadata__": np.zeros(3)}, path, asset="model", replace=True)
        with pytest.raises(strongroom.NoKey):
            lease.save_safetensors(tensors, path, asset="other", replace=True)
        np.testing.assert_array_equal(lease.load_safetensors(path, asset="model")["turned"], turned["turned"])


def test_bfloat16_by_ml_dtypes_and_as_bits_without(room, tmp_path, monkeypatch):
    import ml_dtypes

    path = tmp_path / "bf16.sealed"
    numbers = np.array([1.5, -2, 3e38], ml_dtypes.bfloat16)
    eighths = np.array([0.5, 2, -1], ml_dtypes.float8_e4m3fn)
    with room.lease(write=["model"]) as lease:
        lease.save_safetensors({"a": numbers, "b": eighths}, path, asset="model")
        opened = lease.load_safetensors(path, asset="model")
        assert opened.dtype("a") == "BF16" and opened.dtype("b") == "F8_E4M3"
        np.testing.assert_array_equal(opened["a"], numbers)
        np.testing.assert_array_equal(opened["b"], eighths)
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
        bits = lease.load_safetensors(path, asset="model")
        assert bits["a"].dtype == np.uint16
        np.testing.assert_array_equal(bits["a"], numbers.view(np.uint16))


def test_a_framework_that_is_not_known_is_refused(room, sealed):
    with pytest.raises(ValueError, match="framework"):
        room.load_safetensors(sealed, asset="model", framework="tf")


def test_torch_that_is_missing_is_said_before_a_key_is_asked_for(room, vault, sealed, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with room.lease(read={"model": sealed}) as lease:
        vault.tell("stop")
        try:
            for load in (room.load_safetensors, lease.load_safetensors):
                with pytest.raises(ImportError, match="needs torch"):
                    load(sealed, asset="model", framework="pt")
        finally:
            vault.tell("serve")


def test_a_header_that_nobody_reads_is_not_written(room, tmp_path):
    path = tmp_path / "x.sealed"
    with pytest.raises(strongroom.TensorsError, match="100000000 at the most"):
        room.save_safetensors({"a": np.zeros(1)}, path, asset="model", metadata={"text": "x" * 101_000_000})
    assert not path.exists()


def test_a_name_that_is_there_twice_is_refused(room, tmp_path):
    tensor = '"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}'
    for names, once in [(tensor, True), (f"{tensor},{tensor}", False)]:
        header = b"{" + names.encode() + b"}"
        plain = tmp_path / "plain.safetensors"
        plain.write_bytes(len(header).to_bytes(8, "little") + header + b"xy")
        room.seal(plain, tmp_path / "x.sealed", asset="model", replace=True)
        if once:
            room.load_safetensors(tmp_path / "x.sealed", asset="model").close()
        else:
            with pytest.raises(strongroom.NotSafetensors, match="twice"):
                room.load_safetensors(tmp_path / "x.sealed", asset="model")


CANARY = """
import sys
# Spelt backwards, so that this text is not what is looked for.
canary = b"0123456789 :yromem detcetorp ni yranac"[::-1]
"""
SEAL = CANARY + """
import numpy as np, strongroom
array = np.frombuffer(canary * 300_000, np.uint8)
strongroom.connect(home=sys.argv[1]).save_safetensors({"canary": array}, sys.argv[2], asset="model")
"""
SEARCH = CANARY + """
import tracemalloc, strongroom, numpy as np

def occurrences(outside):
    # Of the canary in all memory that this process may write, but for one range.
    count = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps.readlines():
            bounds, rights, *_ = line.split()
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            if "rw" not in rights or (start < outside[1] and outside[0] < end):
                continue
            for at in range(start, end, 1 << 20):
                try:
                    memory.seek(at)
                    count += memory.read(min(1 << 20, end - at)).count(canary)
                except OSError:
                    break
    return count

room = strongroom.connect(home=sys.argv[1])
tracemalloc.start()
before = tracemalloc.get_traced_memory()[0]
opened = room.load_safetensors(sys.argv[2], asset="model")
array = opened["canary"]
peak = tracemalloc.get_traced_memory()[1] - before
tracemalloc.stop()
start = array.__array_interface__["data"][0]
place = (start, start + array.nbytes)
assert array[: len(canary)].tobytes() == canary
found = occurrences(place)
copy = array[: array.nbytes // 3].tobytes()
print(array.nbytes, peak, found, occurrences(place))
"""


def python(program, *arguments):
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)


def test_no_plaintext_outside_of_protected_memory(vault, tmp_path):
    """Python's own count of what it allocated is small, and a search of all ordinary memory finds no
    plaintext; the same search finds it once a copy was made."""
    path = tmp_path / "canary.sealed"
    sealing = python(SEAL, vault.home, path)
    assert sealing.returncode == 0, sealing.stderr
    ran = python(SEARCH, vault.home, path)
    assert ran.returncode == 0, ran.stderr
    plain, peak, found, control = map(int, ran.stdout.split())
    assert plain == 300_000 * 38 and peak < 1_000_000, f"Python allocated {peak} bytes"
    assert found < 20, f"{found} canaries lie in ordinary memory"
    assert control > 90_000, "the search does not find a copy"


GROWTH = """
import sys, pathlib, re, strongroom
def resident():
    text = pathlib.Path("/proc/self/status").read_text()
    return sum(int(n) for n in re.findall(r"(?:RssAnon|RssShmem):\\s+(\\d+) kB", text)) * 1024
room = strongroom.connect(home=sys.argv[1])
import numpy
before = resident()
opened = room.load_safetensors(sys.argv[2], asset="model")
total = float(sum(opened[name].view(numpy.uint8)[::4096].sum() for name in opened))
grown = resident() - before
opened.close()
left = resident() - before
print(opened.nbytes, grown, left)
"""


def test_memory_grows_by_the_plaintext_and_comes_back(room, vault, tmp_path):
    path = tmp_path / "large.sealed"
    array = np.random.default_rng(1).integers(0, 256, 160 << 20, np.uint8)
    room.save_safetensors({"large": array}, path, asset="model")
    del array
    ran = python(GROWTH, vault.home, path)
    assert ran.returncode == 0, ran.stderr
    plain, grown, left = map(int, ran.stdout.split())
    assert plain >= 160 << 20
    assert grown <= plain + (64 << 20), f"{grown} bytes for {plain} of plaintext"
    assert left <= 64 << 20, f"{left} bytes were kept"
