"""What is refused, under the name of what went wrong, with what can be acted on."""

import collections
import inspect
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import pytest

import strongroom
from strongroom import errors


def test_the_wrong_asset(room, sealed):
    with pytest.raises(strongroom.ObjectReplaced) as raised:
        room.load_safetensors(sealed, asset="other")
    assert (raised.value.what, raised.value.expected, raised.value.found) == ("asset", "other", "model")
    assert isinstance(raised.value, strongroom.SealedError)


def test_another_file_is_refused_before_a_key_is_asked_for(room, vault, sealed):
    vault.tell("stop")
    try:
        with pytest.raises(strongroom.ObjectReplaced):
            room.load_safetensors(sealed, asset="other")
        with pytest.raises(strongroom.ObjectReplaced):
            room.load_safetensors(sealed, asset="model", object="A" * 22)
        with pytest.raises(strongroom.ObjectReplaced):
            room.open(sealed, asset="model", object="A" * 22)
    finally:
        vault.tell("serve")


def test_a_place_that_policy_forbids(room, vault):
    with pytest.raises(strongroom.Refused) as raised:
        room.lease(write=[vault.forbidden])
    refused = raised.value
    assert refused.status == 403 and refused.code == "denied"
    assert any("jurisdiction" in reason for reason in refused.reasons), refused.reasons
    assert refused.decision_id and refused.decision_id in str(refused)


def test_a_file_that_was_cut(room, sealed, tmp_path):
    cut = tmp_path / "cut.sealed"
    shutil.copy(sealed, cut)
    size = cut.stat().st_size
    with open(cut, "r+b") as file:
        file.truncate(size - 100)
    with pytest.raises(strongroom.Truncated) as raised:
        room.load_safetensors(cut, asset="model")
    assert raised.value.actual == size - 100


def test_a_chunk_that_was_changed(room, sealed_bytes, tmp_path):
    changed = tmp_path / "changed.sealed"
    shutil.copy(sealed_bytes, changed)
    with open(changed, "r+b") as file:
        file.seek(4096 + (1 << 20) + 9)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(strongroom.ChunkTampered) as raised:
        room.load_safetensors(changed, asset="model")
    assert (raised.value.chunk, raised.value.offset) == (1, 1 << 20)
    with room.open(changed, asset="model") as file:
        assert file.read(100)
        file.seek(1 << 20)
        buffer = bytearray(b"x" * 100)
        with pytest.raises(strongroom.ChunkTampered):
            file.readinto(buffer)
        assert buffer == bytes(100)


def test_files_that_are_none(room, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError) as raised:
        room.open(missing, asset="model")
    assert isinstance(raised.value, strongroom.StrongroomError)
    assert raised.value.filename == str(missing) and raised.value.errno == 2
    other = tmp_path / "other"
    other.write_bytes(b"plain" * 2000)
    with pytest.raises(strongroom.NotSealed):
        room.open(other, asset="model")


@pytest.fixture()
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_what_is_no_file_is_refused_at_once(vault, room, pipe, tmp_path):
    """In a process of its own: what waits in open(2) heeds no signal but the last."""
    others = [pipe, tmp_path, pathlib.Path("/dev/zero"), pathlib.Path("/dev/null")]
    script = """
import sys, strongroom
home, *others = sys.argv[1:]
room = strongroom.connect(home=home)
for other in others:
    uses = {
        "load": lambda: room.load_safetensors(other, asset="model"),
        "open": lambda: room.open(other, asset="model"),
        "seal": lambda: room.seal(other, home + "/never.sealed", asset="model"),
        "inspect": lambda: strongroom.inspect(other),
        "lease": lambda: room.lease(read={"model": [other]}),
        "connect": lambda: strongroom.connect(other, home=home),
    }
    for name, use in uses.items():
        try:
            use()
        except strongroom.NotRegularFile as error:
            assert isinstance(error, OSError) and error.filename == other and error.errno == 22, (name, error.filename)
            print(name)
with room.lease(write=["model"]) as lease:
    for other in others:
        try:
            lease.seal(other, home + "/never.sealed", asset="model")
        except strongroom.FileError:
            print("seal under a lease")
"""
    arguments = [sys.executable, "-c", script, vault.home, *others]
    ran = subprocess.run(arguments, timeout=60, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    said = collections.Counter(ran.stdout.split("\n")[:-1])
    names = ["load", "open", "seal", "inspect", "lease", "connect", "seal under a lease"]
    assert said == {name: len(others) for name in names}
    assert not (vault.home / "never.sealed").exists()


def test_a_file_that_has_more_than_it_says_is_not_sealed_as_empty(room, tmp_path):
    with pytest.raises(strongroom.NotWritable, match="goes on"):
        room.seal("/proc/cpuinfo", tmp_path / "x.sealed", asset="model")
    assert not (tmp_path / "x.sealed").exists()


def test_a_plaintext_is_not_replaced_by_its_own_sealed_file(room, tmp_path):
    plain, link, other = tmp_path / "plain", tmp_path / "link", tmp_path / "other"
    plain.write_bytes(b"the only copy")
    link.symlink_to(plain)
    other.hardlink_to(plain)
    for target in (plain, link, other):
        with pytest.raises(strongroom.NotWritable, match="plaintext would be lost"):
            room.seal(plain, target, asset="model", replace=True)
        assert plain.read_bytes() == target.read_bytes() == b"the only copy"


def test_a_file_without_hashes_where_the_asset_wants_them(room, tensors, tmp_path):
    path = tmp_path / "hashed.sealed"
    room.save_safetensors(tensors, path, asset="hashed")
    with room.load_safetensors(path, asset="hashed") as opened:
        assert opened["ids"][0] == -5


def test_keys_are_for_what_was_asked(room, sealed, sealed_bytes):
    with room.lease(read={"model": sealed}) as lease:
        with pytest.raises(strongroom.NoKey):
            lease.open(sealed_bytes, asset="model")
    with pytest.raises(strongroom.Refused) as raised:
        room.lease(versions=["model"])
    assert "scope_not_allowed" in raised.value.reasons
    with pytest.raises(strongroom.Refused):
        room.lease(write=["no-such-asset"])


def test_arguments_that_cannot_be_used(room, vault, tmp_path):
    with pytest.raises(ValueError):
        room.lease()
    with pytest.raises(ValueError):
        room.lease(versions=["model@x"])
    with pytest.raises(TypeError):
        room.lease(write="model")
    for patience in (-1, float("inf"), float("nan"), 1e30):
        with pytest.raises(ValueError, match="patience is a number of seconds from 0 to"):
            strongroom.connect(home=vault.home, patience=patience)
    with pytest.raises(FileNotFoundError):
        strongroom.connect(home=tmp_path)
    (tmp_path / "join.json").write_text("{}")
    with pytest.raises(strongroom.JoinError):
        strongroom.connect(home=tmp_path)


def test_a_false_vault_is_not_believed(vault, tmp_path):
    import json

    join = json.loads(vault.join.read_text())
    join["vault_ids"] = ["A" * 43]
    false = tmp_path / "join.json"
    false.write_text(json.dumps(join))
    with pytest.raises((strongroom.NotBelieved, strongroom.JoinError)):
        strongroom.connect(false, home=vault.home)


def test_every_exception_can_travel():
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.StrongroomError)]
    assert len(classes) > 40
    for cls in classes:
        assert getattr(strongroom, cls.__name__) is cls and cls.__name__ in strongroom.__all__
        assert cls.__doc__
        error = pickle.loads(pickle.dumps(cls("what happened", detail=3)))
        assert type(error) is cls and str(error) == "what happened" and error.detail == 3


def test_every_error_of_the_sdk_has_its_exception():
    """The names that the native part asks for are all there, and no class is there for nothing."""
    import re

    source = (pathlib.Path(__file__).parents[1] / "src" / "errors.rs").read_text()
    named = set(re.findall(r'plain\(\s*"(\w+)"|Making::new\(py, "(\w+)"\)|=> "(\w+)"', source))
    named = {name for names in named for name in names if name}
    here = set(errors.__all__)
    assert named <= here, named - here
    assert here - named == {"StrongroomError", "LeaseOver"}
