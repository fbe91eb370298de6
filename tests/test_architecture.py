"""docs/architecture.md is true: every file of the packages is in its map, and every path that it names exists."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ENGINE = ROOT / "memorag_integrations"
PACKAGES = ("memorag_integrations", "llamaindex_memorag", "langchain_memorag")


def folders_in_map():
    """Each row `folder/` of the map, and the files that it lists."""
    rows = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) >= 2 and re.fullmatch(r"`[a-z_]+/`", cells[0]):
            rows[cells[0].strip("`/")] = set(re.findall(r"`([a-z0-9_]+)`", cells[-1]))
    return rows


def files_in(folder):
    return {path.stem for path in folder.glob("*.py")} - {"__init__"}


def test_every_folder_of_the_engine_lists_its_files():
    rows = folders_in_map()
    folders = {path.name for path in ENGINE.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    for folder in folders - {"contracts"}:
        assert rows.get(folder) == files_in(ENGINE / folder), folder
    for package in PACKAGES[1:]:
        assert rows[package] == files_in(ROOT / package), package


def test_every_module_at_the_root_of_the_engine_is_in_the_map():
    table = PAGE.split("| file |")[1].split("\n\n")[0]
    assert set(re.findall(r"`([a-z_]+\.py)`", table)) == {path.name for path in ENGINE.glob("*.py")}
    assert "`contracts/`" in table


def test_every_path_named_exists():
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|md|toml))`", PAGE)) | set(
        re.findall(r"`((?:[a-z_]+/)+)`", PAGE)
    )
    assert len(named) > 50
    missing = [path for path in named if not (ROOT / path).exists() and not (ENGINE / path).exists()]
    assert not missing


def test_no_more_than_fourteen_modules_at_the_root_and_none_too_long():
    assert len(list(ENGINE.glob("*.py"))) <= 14
    lengths = {
        path: len(path.read_text("utf-8").splitlines())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    limits = {ENGINE / "engine.py": 560}
    assert not {str(path): length for path, length in lengths.items() if length > limits.get(path, 400)}


def test_the_layers_are_the_rooms():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = {name.strip() for layer in contracts[0]["layers"] for name in layer.split("|")}
    rooms = {path.name for path in ENGINE.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    modules = {path.stem for path in ENGINE.glob("*.py")} - {"__init__"}
    assert layers == rooms | modules


def imports():
    """By module, the modules of the three packages that it imports anywhere, for type checkers too."""
    files = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            files[name] = path
    graph = {}
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                source = ".".join([*above, *([node.module] if node.module else [])])
                named = {f"{source}.{alias.name}" for alias in node.names}
                found |= (named & files.keys()) | ({source} & files.keys() if named - files.keys() else set())
        graph[name] = found - {name}
    return graph


def test_no_module_imports_itself_through_others():
    graph = imports()
    assert len(graph) > 100
    while leaves := [name for name, found in graph.items() if not found & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph
