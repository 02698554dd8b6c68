"""A vault that runs, with this machine enrolled, as `vault-for-tests` makes it."""

import json
import pathlib
import subprocess
import threading

import numpy as np
import pytest

import strongroom

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Vault:
    """The vault; commands go to its standard input."""

    def __init__(self, process):
        self._process = process
        self._turn = threading.Lock()
        line = process.stdout.readline()
        assert line, "vault-for-tests did not start: see its errors above"
        told = json.loads(line)
        self.join = pathlib.Path(told["join"])
        self.home = pathlib.Path(told["home"])
        self.forbidden = told["forbidden"]

    def tell(self, command):
        with self._turn:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            assert self._process.stdout.readline() == "done\n"


@pytest.fixture(scope="session")
def vault():
    program = ROOT / "target" / "debug" / "vault-for-tests"
    assert program.exists(), "run `make build` first"
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Vault(process)
        process.stdin.close()


@pytest.fixture(scope="session")
def room(vault):
    return strongroom.connect(home=vault.home)


@pytest.fixture(scope="session")
def tensors():
    """Tensors of many types and shapes."""
    random = np.random.default_rng(7)
    return {
        "weight": random.standard_normal((300, 1000), dtype=np.float32),
        "bias": random.standard_normal(1000).astype(np.float16),
        "ids": np.arange(-5, 5, dtype=np.int64),
        "mask": np.array([[True, False], [False, True]]),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3), dtype=np.uint8),
    }


@pytest.fixture(scope="session")
def sealed(room, tensors, tmp_path_factory):
    """The tensors, sealed under the asset `model`. Not to be written."""
    path = tmp_path_factory.mktemp("sealed") / "model.safetensors.sealed"
    room.save_safetensors(tensors, path, asset="model", metadata={"format": "np"})
    return path


@pytest.fixture(scope="session")
def plain_bytes():
    return np.random.default_rng(3).bytes(3_500_000)


@pytest.fixture(scope="session")
def sealed_bytes(room, plain_bytes, tmp_path_factory):
    """Bytes of more than three chunks, sealed under `model`. Not to be written."""
    directory = tmp_path_factory.mktemp("bytes")
    source = directory / "data"
    source.write_bytes(plain_bytes)
    room.seal(source, asset="model")
    source.unlink()
    return directory / "data.sealed"
