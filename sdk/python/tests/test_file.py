"""Sealed files as binary file objects."""

import io
import random
import threading

import numpy as np
import pytest

import strongroom


@pytest.fixture()
def file(room, sealed_bytes):
    with room.open(sealed_bytes, asset="model") as file:
        yield file


def test_it_reads_as_any_file_does(file, plain_bytes):
    assert file.size == len(plain_bytes) and file.readable() and file.seekable() and not file.writable()
    assert file.tell() == 0 and file.read(10) == plain_bytes[:10] and file.tell() == 10
    assert file.seek(-5, io.SEEK_END) == len(plain_bytes) - 5
    assert file.read() == plain_bytes[-5:] and file.read() == b"" and file.read(3) == b""
    assert file.seek(0) == 0 and file.seek(7, io.SEEK_CUR) == 7
    with pytest.raises(ValueError):
        file.seek(-8, io.SEEK_CUR)
    with pytest.raises(ValueError):
        file.seek(0, 9)
    file.seek(0)
    assert file.read() == plain_bytes
    file.seek(len(plain_bytes) + 100)
    assert file.read(1) == b"" and file.readinto(bytearray(3)) == 0


def test_random_parts(file, plain_bytes):
    chance = random.Random(5)
    for _ in range(60):
        start = chance.randrange(len(plain_bytes))
        length = chance.choice([1, 100, 70_000, 2_000_000])
        buffer = bytearray(length)
        file.seek(start)
        count = file.readinto(buffer)
        assert buffer[:count] == plain_bytes[start : start + length]
        assert count == min(length, len(plain_bytes) - start)


def test_readinto_takes_any_writable_buffer_and_no_other(file, plain_bytes):
    array = np.zeros((10, 25), np.float64)
    assert file.readinto(array) == 2000
    assert array.tobytes() == plain_bytes[:2000]
    assert file.readinto(np.zeros((0, 3))) == 0
    with pytest.raises((ValueError, BufferError, TypeError)):
        file.readinto(b"read-only")
    with pytest.raises((ValueError, BufferError, TypeError)):
        file.readinto(np.zeros((4, 4))[:, ::2])


def test_pythons_own_readers_sit_on_top(file, plain_bytes):
    buffered = io.BufferedReader(file, 1 << 16)
    assert buffered.read(100) == plain_bytes[:100]
    assert buffered.seek(3_000_000) == 3_000_000
    assert buffered.read(10) == plain_bytes[3_000_000:3_000_010]
    buffered.detach()


def test_threads_read_what_they_ask_for(file, plain_bytes):
    wrong = []

    def work(seed):
        chance = random.Random(seed)
        for _ in range(30):
            start = chance.randrange(len(plain_bytes) - 1000)
            if file._native.read_at(start, 1000) != plain_bytes[start : start + 1000]:
                wrong.append(start)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_closed_file_is_closed(room, sealed_bytes):
    file = room.open(sealed_bytes, asset="model")
    lease = file._lease
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)
    with pytest.raises(strongroom.LeaseEnded):
        lease.check()


def test_a_file_under_a_lease_goes_with_it(room, sealed_bytes):
    with room.lease(read={"model": sealed_bytes}) as lease:
        file = lease.open(sealed_bytes, asset="model")
        assert file.read(1)
        other = lease.open(sealed_bytes, asset="model")
        other.close()
        lease.check()
    with pytest.raises(strongroom.LeaseEnded):
        file.read(1)
    buffer = bytearray(b"x" * 10)
    with pytest.raises(strongroom.LeaseEnded):
        file.readinto(buffer)


def test_what_a_file_says_of_itself(room, sealed_bytes, plain_bytes):
    said = strongroom.inspect(sealed_bytes)
    assert said["asset"] == "model" and said["bytes"] == len(plain_bytes)
    with room.open(sealed_bytes, asset="model", object=said["object"]) as file:
        assert file.size == len(plain_bytes)
    with pytest.raises(strongroom.ObjectReplaced) as raised:
        room.open(sealed_bytes, asset="model", object="A" * 22)
    assert raised.value.what == "object"
    with pytest.raises(ValueError, match="object"):
        room.open(sealed_bytes, asset="model", object="not an id")
