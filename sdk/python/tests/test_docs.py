"""What the documents show works, and the reference names what there is."""

import inspect
import pathlib
import re

import pytest

import strongroom

DOCS = pathlib.Path(__file__).resolve().parents[3] / "docs"


def test_the_lines_shown_run_one_block_after_another(vault, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "jobs.md").read_text(), re.DOTALL)
    assert len(blocks) >= 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRONGROOM_HOME", str(vault.home))
    names = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/jobs.md, Python block {number}", "exec"), names)
    assert (tmp_path / "half.safetensors.sealed").exists()
    assert names["header"] != bytearray(8)


def test_the_reference_names_every_name_and_parameter():
    text = (DOCS / "reference" / "python.md").read_text()
    missing = [name for name in strongroom.__all__ if name not in {"__version__", "errors"} and f"`{name}" not in text]
    assert not missing
    for name, member in [("connect", strongroom.connect), *inspect.getmembers(strongroom.Room, inspect.isfunction)]:
        if name.startswith("_"):
            continue
        shown = re.search(rf"`(?:Room\.)?{name}\(([^`]*)\)`", text)
        assert shown, name
        named = [word.split("=")[0].strip() for word in shown[1].split(",") if word.strip() not in ("", "*")]
        parameters = [p for p in inspect.signature(member).parameters.values() if p.name not in ("self",)]
        here = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        # What `**options` stands for is the lease's method's.
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            here = [p for p in inspect.signature(getattr(strongroom.Lease, name)).parameters if p != "self"]
        assert named == here, name


@pytest.mark.parametrize("cls", [strongroom.Lease, strongroom.Tensors, strongroom.SealedFile])
def test_the_reference_names_every_method(cls):
    text = (DOCS / "reference" / "python.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| `{cls.__name__}`"))
    for name in vars(cls):
        if not name.startswith("_") and name not in {"readable", "seekable", "readall", "keys", "values", "items", "get"}:
            assert f"`{name}" in row, f"{cls.__name__}.{name}"
