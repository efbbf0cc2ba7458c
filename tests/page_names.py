"""What a page of docs/ or a line of code names that does not exist: paths, commands, settings, links, names."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache

from typer.main import get_command

from features.datasets import ALL
from rex.cli.commands import app
from tests.install.machine import ROOT, tracked

GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
MAKEFILE = (ROOT / "Makefile").read_text()
DATASETS = {f"{dataset.layer}/{dataset.name}" for dataset in ALL.values()}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def mistakes(page: str, text: str) -> Iterator[str]:
    """What `text`, the page's, names that does not exist. What CHANGELOG.md lists as old does not have to."""
    if page == "CHANGELOG.md":
        text = re.sub(r"^\|[^|\n]*\|", "|", text, flags=re.MULTILINE)
    yield from wrong_links(page, text)
    yield from wrong_paths(text)
    yield from wrong_settings(text)
    shell = "\n".join(code for language, code in FENCED.findall(text) if language in ("sh", ""))
    for line in re.sub(r"\\\n", " ", shell).splitlines():
        yield from wrong_command(line, whole=True)
    for code in re.findall(r"`([^`\n]+)`", FENCED.sub("", text)):
        yield from wrong_command(code, whole=False)
        if re.fullmatch(r"--[a-z-]+( .*)?", code) and code.split()[0] not in options():
            yield f"option {code}"
        if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", code) and code.removesuffix("_total") not in words():
            yield f"name {code}"


def wrong_settings(text: str) -> Iterator[str]:
    for name in sorted(set(re.findall(r"\bREX_[A-Z0-9_]*", text))):
        if name not in settings() and not (name.endswith("_") and any(s.startswith(name) for s in settings())):
            yield f"setting {name}"


def wrong_links(page: str, text: str) -> Iterator[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for target in targets:
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else None
        if file is not None and not file.exists():
            yield f"link {target}"
        elif anchor and anchor not in anchors(file.read_text() if file else text):
            yield f"anchor {target}"


def anchors(page: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def wrong_paths(text: str) -> Iterator[str]:
    folders = "|".join(sorted({re.escape(path.split("/")[0]) for path in tracked() if "/" in path}))
    for path, placeholder in re.findall(rf"(?<![\w/.\-])((?:{folders})/[\w./\-]*)(<\w+>)?", text):
        path = path[: path.rindex("/")] if placeholder else path.rstrip(".")  # the end of a sentence
        if path not in DATASETS and not (ROOT / path).exists():
            yield f"path {path}"


def wrong_command(line: str, whole: bool) -> Iterator[str]:
    """`whole`: with all its arguments, as it is typed; else as it is spoken of."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return  # no command: a brace or a quote of another language
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    match words:
        case ["rex", name, *rest] if not name.startswith("-"):
            yield from wrong_arguments(name, rest, whole)
        case ["make", target, *rest]:
            if not re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE):
                yield f"make {target}"
            for word in rest:
                name, _, _ = word.partition("=")
                if not re.search(rf"^{re.escape(name)} \?=", MAKEFILE, re.MULTILINE):
                    yield f"variable {name} of make"
        case ["pytest" | "python", *_] if "pytest" in words and "-k" in words:
            wanted = words[words.index("-k") + 1]
            paths = [word for word in words if word.startswith("tests")]
            if not any(
                path.startswith(tuple(paths)) and wanted in path + (ROOT / path).read_text() for path in code_of_tests()
            ):
                yield f"no test {wanted}"
        case ["python", "-m", module, *_] if module != "pytest":
            if not ((ROOT / module.replace(".", "/")).is_dir() or (ROOT / f"{module.replace('.', '/')}.py").exists()):
                yield f"python -m {module}"


def wrong_arguments(name: str, rest: list[str], whole: bool) -> Iterator[str]:
    if name not in COMMANDS:
        yield f"no command: rex {name}"
        return
    command = COMMANDS[name]
    taken = {option: o for o in command.params for option in (*o.opts, *o.secondary_opts) if option.startswith("-")}
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    given, words = 0, iter(rest)
    for word in words:
        option, has_value, _ = word.partition("=")
        if option.startswith("--") and option not in ("--help", "--"):
            if option not in taken:
                yield f"no option: rex {name} {option}"
            elif not taken[option].is_flag and not has_value and next(words, None) is None and whole:  # type: ignore[attr-defined]
                yield f"no value: rex {name} {option}"
        elif not option.startswith("-"):
            given += 1
    most = None if any(a.nargs == -1 for a in arguments) else len(arguments)
    least = 0 if "--list" in rest or not whole else sum(a.required for a in arguments)
    if given < least or (most is not None and given > most):
        yield f"{given} arguments: {shlex.join(['rex', name, *rest])}"


def code_of_tests() -> list[str]:
    return [path for path in tracked() if path.startswith("tests/") and path.endswith(".py")]


@cache
def words() -> set[str]:
    """Every name in the code, and of the columns and checks that it declares."""
    code = [
        path for path in tracked() if path.endswith((".py", ".lua", ".sql", ".toml")) and not path.startswith("tests/")
    ]
    declared = {one.name for dataset in ALL.values() for one in (*dataset.columns, *dataset.checks)}
    return declared | set(re.findall(r"[a-z0-9_]+", " ".join((ROOT / path).read_text() for path in code)))


@cache
def settings() -> set[str]:
    """Every environment variable of Rex, and those of its tests."""
    return set(re.findall(r"^\| `(REX_\w+)`", GENERATED["settings.md"], re.MULTILINE)) | set(
        re.findall(r"REX_TEST_[A-Z]+", MAKEFILE)
    )


@cache
def options() -> set[str]:
    taken = (p for command in COMMANDS.values() for p in command.params)
    return {"--help"} | {option for p in taken for option in (*p.opts, *p.secondary_opts)}
