"""Forked children are told; spawned ones work."""

import gc
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import traceback

import numpy as np
import pytest

import strongroom


def in_child(work):
    """Runs `work` in a forked child: how it ended, and the exception that it raised."""
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(read)
        with os.fdopen(write, "wb") as out:
            try:
                out.write(pickle.dumps(("returned", work())))
            except BaseException as error:
                out.write(pickle.dumps(("raised", error)))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        text = said.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, pickle.loads(text) if text else None


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_whatever_it_uses(room, sealed, sealed_bytes, tensors, tmp_path):
    with room.lease(read={"model": [sealed, sealed_bytes]}, write=["model"]) as lease:
        opened = lease.load_safetensors(sealed, asset="model")
        file = lease.open(sealed_bytes, asset="model")
        weight = opened["weight"]
        uses = {
            "look-up": lambda: opened["weight"],
            "buffer": lambda: memoryview(opened._view),
            "view": lambda: opened._view.tensors(),
            "read": lambda: file.read(1),
            "readinto": lambda: file.readinto(bytearray(3)),
            "check": lease.check,
            "id": lambda: lease.id,
            "renew": lease.renew,
            "reattest": lease.reattest,
            "end": lease.end,
            "load": lambda: lease.load_safetensors(sealed, asset="model"),
            "open": lambda: lease.open(sealed_bytes, asset="model"),
            "save": lambda: lease.save_safetensors(tensors, tmp_path / "x", asset="model"),
            "vault": lambda: room.vault_id,
            "lease": lambda: room.lease(write=["model"]),
            "one file": lambda: room.load_safetensors(sealed, asset="model"),
        }
        for name, use in uses.items():
            status, (what, error) = in_child(use)
            assert (status, what, type(error)) == (0, "raised", strongroom.ForkedError), (name, status, error)
        lease.check()
        np.testing.assert_array_equal(weight, tensors["weight"])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_may_begin_anew(room, vault, sealed, tensors):
    def anew():
        with strongroom.connect(home=vault.home).load_safetensors(sealed, asset="model") as opened:
            return strongroom.inspect(sealed)["asset"], float(opened["scalar"])

    assert in_child(anew) == (0, ("returned", ("model", 2.5)))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_letting_go_in_a_forked_child_is_harmless(room, sealed, tensors):
    held = [room.load_safetensors(sealed, asset="model")]
    held.append(held[0]["weight"])

    def let_go():
        held.clear()
        gc.collect()
        return "gone"

    assert in_child(let_go) == (0, ("returned", "gone"))
    held[0]._lease.check()
    np.testing.assert_array_equal(held[1], tensors["weight"])
    held[0].close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_touching_an_array_in_a_forked_child_ends_it_with_a_message(room, sealed, capfd):
    with room.load_safetensors(sealed, asset="model") as opened:
        weight = opened["weight"]
        ordinary = np.ones(3)
        assert in_child(lambda: float(ordinary.sum())) == (0, ("returned", 3.0))
        status, said = in_child(lambda: float(weight.sum()))
        assert status == 70 and said is None
        assert "belongs to the parent process" in capfd.readouterr().err
        assert weight.any()


def work(home, path):
    """What a spawned worker does: connects by itself."""
    try:
        with strongroom.connect(home=home).load_safetensors(path, asset="model") as opened:
            return float(opened["weight"].sum(dtype=np.float64))
    except Exception:
        return traceback.format_exc()


def test_spawned_workers_connect_by_themselves(room, vault, sealed, tensors):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(work, (vault.home, sealed)) == pytest.approx(float(tensors["weight"].sum(dtype=np.float64)))


TOO_LARGE = """
import sys, strongroom
room = strongroom.connect(home=sys.argv[1])
try:
    room.load_safetensors(sys.argv[2], asset="model")
except strongroom.LockLimit as limit:
    print(limit.limit, limit.needed > limit.limit, isinstance(limit, strongroom.MemoryProtectionError))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="rights are taken away by root's setpriv")
def test_a_process_that_may_not_lock_is_told_its_limit(room, vault, tmp_path):
    path = tmp_path / "large.sealed"
    room.save_safetensors({"large": np.zeros(40 << 20, np.uint8)}, path, asset="model")
    rights = ["setpriv", "--inh-caps=-ipc_lock", "--bounding-set=-ipc_lock", "prlimit", "--memlock=8388608:8388608"]
    ran = subprocess.run([*rights, sys.executable, "-c", TOO_LARGE, vault.home, path], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "8388608 True True\n"), ran.stderr
