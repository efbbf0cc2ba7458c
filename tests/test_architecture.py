"""Who may import whom. What ranks is pure, so that the service, training, evaluation and replays can call the very same code."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE = {
    *(f"online.{name}" for name in ("pipeline", "components", "protocols", "context", "columns", "selection", "settings")),
    *(f"online.{name}" for name in ("providers", "rules", "annotators", "rankers", "postprocessors", "validators")),
    *("online.story_table", "online.user"),
    *(f"online.slates.{name}" for name in ("slate", "slate_making", "pagination_session", "freshness")),
    *(f"online.timelines.{name}" for name in ("newest", "reading", "targets", "timeline")),
}  # fmt: skip
"""Modules, and packages with all that is in them, except for IMPURE."""
IMPURE = {"online.user.store"}
ARRAYS = {"numpy", "numba", "pyarrow", "xxhash", "orjson", "langcodes", "annotated_types", "shap"}
"""All that what ranks may import from PyPI: arrays, hashes, and what only looks at values (shap: when something is explained)."""
OUTSIDE = {"asyncio", "concurrent", "fcntl", "http", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil",
           "signal", "socket", "ssl", "subprocess", "tempfile", "time", "urllib", "uuid"}  # fmt: skip
"""What brings the machine, the network, the clock or chance in."""
DECLARED_BY_SITE = {"features.null_spellings"}
"""The one place where declarations ask the environment: which ids exist at a site is part of what its datasets may hold."""
LAYERS = {
    "rex.local": {"features"},
    "pure": {"features"},
    "lake": {"features", "rex.local"},
    "rex.model_service": {"features", "rex.local", "pure", "lake"},
    "batch": {"features", "rex.local", "pure", "lake"},
    "learning": {"features", "rex.local", "pure", "lake"},
    "online": {"features", "rex.local", "pure", "lake", "rex.model_service"},
    "evaluation": {"features", "rex.local", "pure", "lake", "batch", "learning"},
}
"""Layer → those that it may import. `rex` itself, `airflow_dags` and `benchmarks` stand above and may import all."""
TOP = ("rex", "airflow_dags", "benchmarks", "notebooks")


def _modules() -> dict[str, Path]:
    folders = {name for name in ("features", *LAYERS, *TOP) if (ROOT / name).is_dir()}
    files = (file for folder in sorted(folders) for file in sorted((ROOT / folder).rglob("*.py")))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def _imported(file: Path) -> Iterator[str]:
    """Wherever it stands in the file, also inside functions and for type checking alone."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


MODULES = _modules()
IMPORTS = {module: set(_imported(file)) for module, file in MODULES.items()}


def _is_pure(module: str) -> bool:
    return module not in IMPURE and any(module == one or module.startswith(f"{one}.") for one in PURE)


def _layer(module: str) -> str:
    if _is_pure(module):
        return "pure"
    named = (name for name in (*LAYERS, "features", *TOP) if module == name or module.startswith(f"{name}."))
    return next(named)


def test_what_ranks_reaches_nothing_but_features_and_libraries_for_arrays() -> None:
    found, way = set(), {module: module for module in MODULES if _is_pure(module)}
    waiting = list(way)
    while waiting:
        module = waiting.pop()
        for other in sorted(IMPORTS[module]):
            if other in MODULES:
                if other not in way:
                    way[other] = f"{way[module]} → {other}"
                    waiting.append(other)
                if _layer(other) not in ("pure", "features"):
                    found.add(f"{way[module]} → {other}")
            elif module in DECLARED_BY_SITE and other == "os":
                continue
            elif (name := other.partition(".")[0]) not in ARRAYS | (sys.stdlib_module_names - OUTSIDE):
                found.add(f"{way[module]} → {name}")
    assert not found, "what ranks must be pure:\n" + "\n".join(sorted(found))


def test_what_ranks_asks_no_clock() -> None:
    asked = re.compile(r"\b(datetime\.(now|utcnow)|date\.today|monotonic|perf_counter)\(")
    assert not [module for module in MODULES if _is_pure(module) and asked.search(MODULES[module].read_text())]


@pytest.mark.parametrize("layer", ["features", *LAYERS])
def test_imports_go_down(layer: str) -> None:
    allowed = {layer, *LAYERS.get(layer, ())}
    up = sorted(
        f"{module} imports {other}"
        for module in MODULES
        if _layer(module) == layer
        for other in IMPORTS[module]
        if other in MODULES and _layer(other) not in allowed
    )
    assert not up, "\n".join(up)


def test_what_a_cluster_has_itself_is_not_built_in() -> None:
    """Servers, Java and child processes of one machine: `rex.local.redis` may start a server, and whoever connects does not know."""
    shared = {"rex.local.faults", "rex.local.redis"}
    found = sorted(
        f"{module} imports {other}"
        for module in MODULES
        if _layer(module) in ("pure", "lake", "online", "learning", "evaluation")
        for other in IMPORTS[module]
        if other.startswith("rex.local.") and other not in shared
    )
    assert not found, "\n".join(found)


def test_no_import_cycle() -> None:
    graph = {module: {other for other in IMPORTS[module] if other in MODULES} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' → '.join(error.args[1])}")


def test_the_top_level_of_online_fits_on_a_screen() -> None:
    assert len(list((ROOT / "online").glob("*.py"))) <= 16


def test_the_picture_of_the_layers_is_true() -> None:
    drawn = re.findall(r"^  (\S+) --> (\S+)$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    below: dict[str, set[str]] = {}
    for upper, lower in drawn:
        below.setdefault(upper, set()).add(lower)
    for layer, allowed in (LAYERS | {"rex": {"features", *LAYERS}}).items():
        reached, waiting = set(), [layer]
        while waiting:
            new = below.get(waiting.pop(), set()) - reached
            reached |= new
            waiting += new
        assert reached == allowed, f"docs/architecture.md draws another rule for {layer}"
