"""The stubs name what there is, with the parameters that it has."""

import ast
import inspect
import pathlib

import strongroom
from strongroom import _native

STUB = pathlib.Path(strongroom.__file__).with_name("_native.pyi")
#: What every object has, and what Python makes by itself of slots that the stub does name.
OWN = {"__len__", "__buffer__"}


def stub():
    """Classes with their members, and functions, as the stub has them: name to parameters."""
    functions, classes = {}, {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = parameters(node)
        elif isinstance(node, ast.ClassDef):
            classes[node.name] = {member.name: parameters(member) for member in node.body if isinstance(member, ast.FunctionDef)}
    return functions, classes


def parameters(node):
    if any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list):
        return "property"
    return [argument.arg for argument in node.args.posonlyargs + node.args.args if argument.arg != "self"]


def real_parameters(member):
    if inspect.isgetsetdescriptor(member):
        return "property"
    return [name for name in inspect.signature(member).parameters if name != "self"]


def test_the_stub_has_every_name_with_its_parameters():
    functions, classes = stub()
    public = {name: value for name, value in vars(_native).items() if not name.startswith("__")}
    assert {n for n, v in public.items() if inspect.isclass(v)} == set(classes)
    assert {n for n, v in public.items() if inspect.isbuiltin(v)} == set(functions)
    for name, expected in functions.items():
        assert real_parameters(getattr(_native, name)) == expected, name
    for name, members in classes.items():
        real = {n: v for n, v in vars(getattr(_native, name)).items() if not n.startswith("__")}
        assert set(real) == {n for n in members if n not in OWN}, name
        for member, value in real.items():
            assert real_parameters(value) == members[member], f"{name}.{member}"


def test_the_package_says_that_it_is_typed():
    assert STUB.with_name("py.typed").exists()


def test_all_names_of_the_package_are_there():
    for name in strongroom.__all__:
        assert getattr(strongroom, name).__doc__, name
