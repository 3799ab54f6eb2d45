"""Several networks as one player: their variables by name below each collection."""

from collections.abc import Mapping
from typing import Any

from retrojax.tasks.task import Variables


def split(variables: Variables, names: tuple[str, ...]) -> dict[str, Variables]:
    """{collection: {name: tree}} -> {name: {collection: tree}}; a network may lack a collection."""
    return {
        name: {collection: trees[name] for collection, trees in variables.items() if name in trees}
        for name in names
    }


def merged(players: Mapping[str, Mapping[str, Any]]) -> Variables:
    """{name: {collection: tree}} -> {collection: {name: tree}}."""
    collections = sorted({name for variables in players.values() for name in variables})
    return {
        collection: {
            name: variables[collection]
            for name, variables in players.items()
            if collection in variables
        }
        for collection in collections
    }


def collections_of(variables: Variables) -> dict[str, Any]:
    """All but the params."""
    return {name: value for name, value in variables.items() if name != "params"}
