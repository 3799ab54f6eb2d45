"""The style of every public function, read from the sources.

Public is what has no leading underscore at the top level of a module of the package, and the public
methods and calls of its public classes.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# Rooms of functions on arrays: there every array parameter says its shape.
ARRAY_ROOMS = ("losses", "film", "metrics", "models")
SHAPED = {"Bool", "Float", "Inexact", "Int", "Integer", "Key", "Num", "Real", "Shaped", "UInt8"}
BARE = {"Array", "ndarray", "ArrayLike"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Public(NamedTuple):
    """A public function of the package, or a method of a public class."""

    where: str
    room: str
    node: Function


def functions_of(body: list[ast.stmt]) -> Iterator[tuple[str, Function]]:
    """Public functions of a module's body, and the public methods and calls of its classes."""
    for node in body:
        name = getattr(node, "name", "_")
        if name.startswith("_") and name != "__call__":
            continue
        if isinstance(node, Function):
            # An overload or a property's setter documents nothing new.
            yield name, node
        elif isinstance(node, ast.ClassDef):
            for method, inner in functions_of(node.body):
                yield f"{name}.{method}", inner


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the package, parsed."""
    for path in sorted((ROOT / "retrojax").rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text())


def public_functions() -> list[Public]:
    """Everything that the tests below speak about."""
    found = []
    for path, tree in modules():
        for name, node in functions_of(tree.body):
            found.append(Public(f"{path}:{node.lineno} {name}", path.parts[1], node))
    assert len(found) > 150, "the walk misses the package"
    return found


def parameters(node: Function) -> list[ast.arg]:
    """All parameters but self and cls."""
    a = node.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs]
    every += [extra for extra in (a.vararg, a.kwarg) if extra is not None]
    return [argument for argument in every if argument.arg not in ("self", "cls")]


def bare_arrays(annotation: ast.AST) -> Iterator[str]:
    """Array types in an annotation that are not inside a jaxtyping shape."""
    if isinstance(annotation, ast.Subscript):
        if getattr(annotation.value, "id", getattr(annotation.value, "attr", "")) in SHAPED:
            return
    name = getattr(annotation, "id", getattr(annotation, "attr", ""))
    if name in BARE:
        yield ast.unparse(annotation)
        return
    for child in ast.iter_child_nodes(annotation):
        yield from bare_arrays(child)


def raises_value_error(node: Function) -> bool:
    """Whether the function itself, not one defined inside it, raises ValueError."""
    pending: list[ast.AST] = list(node.body)
    while pending:
        inner = pending.pop()
        if isinstance(inner, Function | ast.Lambda):
            continue
        if isinstance(inner, ast.Raise) and isinstance(inner.exc, ast.Call):
            if getattr(inner.exc.func, "id", "") == "ValueError":
                return True
        pending += ast.iter_child_nodes(inner)
    return False


def test_every_public_function_and_class_has_a_docstring():
    missing = [public.where for public in public_functions() if not ast.get_docstring(public.node)]
    for path, tree in modules():
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                missing += [] if ast.get_docstring(node) else [f"{path}:{node.lineno} {node.name}"]
    assert not missing, "\n".join(missing)


def test_every_parameter_and_result_is_annotated():
    missing = []
    for where, _, node in public_functions():
        missing += [f"{where}({a.arg})" for a in parameters(node) if a.annotation is None]
        missing += [] if node.returns is not None else [f"{where} -> ?"]
    assert not missing, "\n".join(missing)


def test_array_parameters_say_their_shape():
    bare = [
        f"{where}({argument.arg}: {found})"
        for where, room, node in public_functions()
        if room in ARRAY_ROOMS
        for argument in parameters(node)
        if argument.annotation is not None
        for found in bare_arrays(argument.annotation)
    ]
    assert not bare, "\n".join(bare)


def test_a_source_of_randomness_is_called_key():
    wrong = [
        f"{where}({argument.arg})"
        for where, _, node in public_functions()
        for argument in parameters(node)
        if argument.arg in ("rng", "rngs", "prng_key")
    ]
    assert not wrong, "\n".join(wrong)


def test_whoever_raises_a_value_error_says_so():
    silent = [
        where
        for where, _, node in public_functions()
        if raises_value_error(node)
        and not {"Raises:", "ValueError:"} <= set((ast.get_docstring(node) or "").split())
    ]
    assert not silent, "\n".join(silent)
