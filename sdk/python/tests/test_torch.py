"""torch tensors over protected memory. torch is not among what tests install: 3 GB. Where it is, these run."""

import numpy as np
import pytest

import strongroom

torch = pytest.importorskip("torch", reason="torch is not installed here: `pip install torch` to run these")


@pytest.fixture(scope="module")
def theirs():
    """Tensors of types that numpy has, and of some that it has not."""
    torch.manual_seed(7)
    return {
        "weight": torch.randn(300, 1000),
        "half": torch.randn(64).to(torch.float16),
        "brain": torch.randn(33, 5).to(torch.bfloat16),
        "eight": torch.randn(16).to(torch.float8_e4m3fn),
        "scale": torch.randn(16).abs().to(torch.float8_e8m0fnu),
        "ids": torch.arange(-5, 5),
        "mask": torch.tensor([[True, False], [False, True]]),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros((0, 3), dtype=torch.uint8),
    }


@pytest.fixture(scope="module")
def sealed_theirs(room, theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "theirs.safetensors.sealed"
    room.save_safetensors(theirs, path, asset="model")
    return path


def as_bytes(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def test_tensors_are_what_was_sealed(room, theirs, sealed_theirs):
    with room.load_safetensors(sealed_theirs, asset="model", framework="pt") as opened:
        assert set(opened) == set(theirs)
        for name, expected in theirs.items():
            assert opened[name].dtype == expected.dtype and opened[name].shape == expected.shape
            assert torch.equal(as_bytes(opened[name]), as_bytes(expected)), name
        assert torch.equal(opened["weight"] @ torch.ones(1000), theirs["weight"] @ torch.ones(1000))


def test_numpy_and_torch_read_one_file(room, sealed, tensors):
    with room.load_safetensors(sealed, asset="model", framework="pt") as opened:
        for name, expected in tensors.items():
            np.testing.assert_array_equal(opened[name].numpy(), expected)


def test_a_tensor_lies_in_protected_memory_and_shows_zeros_afterwards(room, sealed_theirs):
    with room.load_safetensors(sealed_theirs, asset="model", framework="pt") as opened:
        weight = opened["weight"]
        arena = np.frombuffer(opened._view, np.uint8)
        begin = arena.ctypes.data
        assert begin <= weight.data_ptr() < begin + arena.nbytes, "a copy was made"
        copy = weight.clone()
    assert not weight.any(), "the tensor shows plaintext after the lease has ended"
    assert copy.any()
    with pytest.raises(strongroom.LeaseEnded):
        opened["weight"]


def test_a_tensor_alone_keeps_memory_and_lease(room, theirs, sealed_theirs):
    weight = room.load_safetensors(sealed_theirs, asset="model", framework="pt")["weight"]
    assert torch.equal(weight, theirs["weight"])


def test_writing_into_one_changes_what_this_process_holds_and_nothing_else(room, theirs, sealed_theirs):
    """torch has no read-only tensors."""
    with room.load_safetensors(sealed_theirs, asset="model", framework="pt") as opened:
        opened["weight"][0, 0] = 1e9
        with room.load_safetensors(sealed_theirs, asset="model", framework="pt") as again:
            assert torch.equal(again["weight"], theirs["weight"])
    assert not opened._made


def test_what_would_be_copied_unasked_is_refused(room, theirs, tmp_path):
    path = tmp_path / "turned.sealed"
    with pytest.raises(strongroom.TensorsError, match="not contiguous"):
        room.save_safetensors({"turned": theirs["weight"].T}, path, asset="model")
    assert not path.exists()
    room.save_safetensors({"turned": theirs["weight"].T}, path, asset="model", contiguous=True)
    with room.load_safetensors(path, asset="model", framework="pt") as opened:
        assert torch.equal(opened["turned"], theirs["weight"].T)
    with pytest.raises(strongroom.TensorsError, match="element type"):
        room.save_safetensors({"complex": torch.zeros(2, dtype=torch.complex128)}, tmp_path / "c.sealed", asset="model")
    with pytest.raises(strongroom.TensorsError, match="meta"):
        room.save_safetensors({"nowhere": torch.zeros(2, device="meta")}, tmp_path / "m.sealed", asset="model")


def test_a_parameter_with_its_gradient_is_sealed_as_its_values(room, theirs, tmp_path):
    parameter = torch.nn.Parameter(theirs["weight"].clone())
    room.save_safetensors({"p": parameter}, tmp_path / "p.sealed", asset="model")
    with room.load_safetensors(tmp_path / "p.sealed", asset="model", framework="pt") as opened:
        assert torch.equal(opened["p"], parameter.detach())
