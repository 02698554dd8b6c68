"""Leases end, are revoked, outlive outages; work is told of and can be stopped."""

import contextlib
import gc
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import strongroom


def test_a_lease_says_what_it_is(room, sealed):
    with room.lease(read={"model": sealed}) as lease:
        assert lease.id and lease.decision_id
        assert lease.handling["client"].startswith("strongroom/")
        assert lease.handling["weakened"] == [] and lease.handling["plaintext_to_disk"] is False
        assert isinstance(lease.obligations, dict)
        lease.check()
        lease.renew()
        lease.reattest()
    lease.end()
    for use in (lease.check, lease.renew, lease.reattest, lease.__enter__):
        with pytest.raises(strongroom.LeaseEnded):
            use()


def until(what, happens, patience=30):
    deadline = time.monotonic() + patience
    while not happens():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.002)


def test_revocation_zeroes_what_python_holds(room, vault, sealed, sealed_bytes):
    with room.lease(read={"model": [sealed, sealed_bytes]}) as lease:
        opened = lease.load_safetensors(sealed, asset="model")
        weight = opened["weight"]
        file = lease.open(sealed_bytes, asset="model")
        assert weight.any() and file.read(10)
        told, ended = [], threading.Event()
        lease.on_ending(lambda over, left: (told.append((over, left)), ended.set()))
        vault.tell(f"revoke {lease.id}")
        until("zeroing", lambda: not weight.any())
        with pytest.raises(strongroom.LeaseRevoked) as raised:
            opened["weight"]
        assert "a test" in (raised.value.reason or "")
        assert ended.wait(30)
        assert isinstance(told[0][0], strongroom.LeaseRevoked) and told[0][1] == 0
        with pytest.raises(strongroom.LeaseRevoked):
            file.read(1)
        with pytest.raises(strongroom.LeaseRevoked):
            lease.load_safetensors(sealed, asset="model")


class Saves:
    """A callback that refers to what is open under its lease, as a checkpoint writer does."""

    def __init__(self, opened):
        self.opened = opened

    def __call__(self, over, left):
        pass


@pytest.mark.parametrize("ending", ["its holder's end", "a revocation"])
def test_a_callback_is_let_go_when_its_lease_is_over(room, vault, sealed, ending):
    lease = room.lease(read={"model": sealed})
    callback = Saves(lease.load_safetensors(sealed, asset="model"))
    kept, tensors = weakref.ref(callback), weakref.ref(callback.opened)
    lease.on_ending(callback)
    del callback
    gc.collect()
    assert kept() is not None and kept().opened["weight"].any(), "it has to be there to be called"
    if ending == "a revocation":
        vault.tell(f"revoke {lease.id}")
    else:
        lease.end()

    def is_gone():
        # What Rust lets go of on another thread is let go of in Python with the next call.
        with contextlib.suppress(strongroom.LeaseOver):
            lease.check()
        gc.collect()
        return kept() is None and tensors() is None

    until("letting the callback go", is_gone)


def test_what_cannot_be_called_on_ending_is_refused(room):
    with room.lease(write=["model"]) as lease:
        with pytest.raises(TypeError, match="7"):
            lease.on_ending(7)
        with pytest.raises(ValueError, match="before is a number of seconds"):
            lease.on_ending(print, before=float("inf"))


def test_of_an_end_by_its_holder_nobody_is_told(room, vault):
    told = []
    ended, revoked = (room.lease(write=["model"]) for _ in range(2))
    for lease in (ended, revoked):
        lease.on_ending(lambda over, left, id=lease.id: told.append((id, type(over))))
    ended.end()
    vault.tell(f"revoke {revoked.id}")
    until("being told of the revocation", lambda: told)
    assert told == [(revoked.id, strongroom.LeaseRevoked)]


def test_a_vault_that_is_away_keeps_nobody_from_working(room, vault, sealed, tensors, tmp_path):
    with room.lease(read={"model": sealed}, write=["model", "hashed"]) as lease:
        vault.tell("stop")
        try:
            opened = lease.load_safetensors(sealed, asset="model")
            np.testing.assert_array_equal(opened["weight"], tensors["weight"])
            lease.save_safetensors(tensors, tmp_path / "new.sealed", asset="hashed")
        finally:
            vault.tell("serve")
        lease.renew()


def test_threads_share_a_room(room, sealed, tensors):
    wrong = []

    def work():
        try:
            with room.load_safetensors(sealed, asset="model") as opened:
                if not np.array_equal(opened["weight"], tensors["weight"]):
                    wrong.append("another content")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_other_threads_run_meanwhile(room, tmp_path):
    """Python's lock is released: a thread counts while another seals and opens."""
    path = tmp_path / "large.sealed"
    array = np.zeros(200 << 20, np.uint8)
    stop, counted = threading.Event(), []

    def count():
        while not stop.is_set():
            counted.append(time.monotonic())
            stop.wait(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        start = time.monotonic()
        room.save_safetensors({"a": array}, path, asset="model")
        with room.load_safetensors(path, asset="model"):
            pass
        took = time.monotonic() - start
    finally:
        stop.set()
        thread.join()
    longest = max(b - a for a, b in zip(counted, counted[1:]))
    assert longest < took / 2, f"no other thread ran for {longest:.3f} of {took:.3f} s"


class Told:
    """A callback that keeps what it was told."""

    def __init__(self):
        self.calls = []
        self.threads = set()

    def __call__(self, done, total):
        self.calls.append((done, total))
        self.threads.add(threading.get_ident())


def test_progress_is_told_on_the_callers_thread(room, sealed_bytes, plain_bytes, tmp_path):
    told = Told()
    source = tmp_path / "data"
    source.write_bytes(plain_bytes)
    room.seal(source, asset="model", progress=told)
    assert told.calls[0] == (0, len(plain_bytes)) and told.calls[-1] == (len(plain_bytes), len(plain_bytes))
    assert told.calls == sorted(told.calls) and told.threads == {threading.get_ident()}


def test_an_exception_of_the_callback_stops_the_work_and_leaves_nothing(room, tmp_path):
    class Enough(Exception):
        pass

    def enough(done, total):
        if calls := seen.append(done) or len(seen) > 1:
            raise Enough(calls)

    array = np.zeros(300 << 20, np.uint8)
    path = tmp_path / "large.sealed"
    seen = []
    with pytest.raises(Enough):
        room.save_safetensors({"a": array}, path, asset="model", progress=enough, threads=1)
    assert list(tmp_path.iterdir()) == []
    room.save_safetensors({"a": array}, path, asset="model")
    before = len(strongroom._native.live_leases())
    seen = []
    with pytest.raises(Enough):
        room.load_safetensors(path, asset="model", progress=enough, threads=1)
    assert len(strongroom._native.live_leases()) == before, "the lease of an opening that failed lives on"


def test_a_bar_by_tqdm_and_none_without(room, sealed, capsys, monkeypatch):
    with room.load_safetensors(sealed, asset="model", progress=True):
        pass
    assert "opening" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with room.load_safetensors(sealed, asset="model", progress=True):
        pass
    assert capsys.readouterr().err == ""


EXIT = """
import sys, atexit
def last():
    # Registered first, so it runs last: after strongroom's own.
    print("zeroed" if not weight.any() else "plaintext at exit", flush=True)
atexit.register(last)
import strongroom
room = strongroom.connect(home=sys.argv[1])
opened = room.load_safetensors(sys.argv[2], asset="model")
weight = opened["weight"]
assert weight.any()
{how}
"""


#: What the reference tells those to write who want SIGTERM to zero and tell the vault.
ON_SIGTERM = "import os, signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); os.kill(os.getpid(), signal.SIGTERM)"


@pytest.mark.parametrize(
    "how, code", [("", 0), ("sys.exit(3)", 3), ("raise RuntimeError('a fault')", 1), (ON_SIGTERM, 143)]
)
def test_at_exit_everything_is_zeroed(vault, sealed, how, code):
    program = [sys.executable, "-c", EXIT.replace("{how}", how), vault.home, sealed]
    ran = subprocess.run(program, capture_output=True, text=True)
    assert ran.returncode == code and ran.stdout == "zeroed\n", ran.stderr
