"""The structure: who may import whom, which names are public, and what importing costs."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("quire", "ingest", "assistant", "finetune", "streamlit_app")
# a package, or the rooms of one: whose public names it may import
MAY_IMPORT = {
    "quire": set(),
    "ingest": {"quire"},
    "assistant": {"quire", "ingest"},
    "finetune": {"quire"},
    "finetune/data/make": {"quire", "ingest", "assistant"},
    "finetune/teach": {"quire", "ingest", "assistant"},
    "streamlit_app": {"quire", "ingest", "assistant", "finetune"},
}
HEAVY = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "langchain",
    "langchain_core",
    "weaviate",
    "streamlit",
    "onnxruntime",
)


def modules(root: Path, package: str) -> list[Path]:
    return sorted((root / package).rglob("*.py"))


def module_name(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """Yield every import of a module, function-level ones too, as (module, name); the name is empty for `import x`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)


def public_names(root: Path, package: str) -> dict[str, str]:
    """Return the names of a package's table of contents, each with the module it comes from."""
    stub = ast.parse((root / package / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"{package}.{node.module}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def allowed(root: Path, file: Path) -> set[str]:
    place = file.relative_to(root).as_posix()
    return MAY_IMPORT[max((key for key in MAY_IMPORT if place.startswith(f"{key}/")), key=len)]


def import_faults(root: Path) -> list[str]:
    """Return every import that goes the wrong way, past a package's public names, or is relative."""
    faults = []
    for package in PACKAGES:
        for file in modules(root, package):
            for module, name in imports(file):
                top = module.split(".")[0]
                where = f"{module_name(root, file)} imports {module}{'.' * bool(name)}{name}"
                if module.startswith("."):
                    faults.append(f"{where}: relative")
                elif top in PACKAGES and top != package and (module, name) != ("quire.lazy", "public_names"):
                    if top not in allowed(root, file):
                        faults.append(f"{where}: wrong direction")
                    elif module != top or name not in public_names(root, top):
                        faults.append(f"{where}: not a public name")
    return faults


def import_graph(root: Path) -> dict[str, set[str]]:
    """Return the modules that each module of the packages imports from its own package."""
    names = {module_name(root, file): file for package in PACKAGES for file in modules(root, package)}
    graph: dict[str, set[str]] = {}
    for importer, file in names.items():
        found = graph.setdefault(importer, set())
        for module, name in imports(file):
            target = f"{module}.{name}" if f"{module}.{name}" in names else module
            if target in names and target != importer:
                found.add(target)
    return graph


def room(module: str) -> str:
    """Return the room of a module: its package, or the package's folder that it is in."""
    return ".".join(module.split(".")[:2]) if (ROOT / module.replace(".", "/")).parent.parent != ROOT else module


def room_graph(root: Path) -> dict[str, set[str]]:
    """Return the rooms that each room imports; a module beside the rooms is a room by itself."""
    rooms: dict[str, set[str]] = {}
    for importer, targets in import_graph(root).items():
        found = rooms.setdefault(room(importer), set())
        found |= {room(target) for target in targets} - {room(importer)}
    return rooms


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other (Tarjan's strongly connected components of two or more)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def json_faults(root: Path) -> list[str]:
    """Return every place of a command, or of a print, that makes JSON by itself; quire.terminal has its only maker.

    `json.dumps(...).encode()` is a command's only other use: it is hashed, not shown.
    """
    faults = []
    for package in PACKAGES:
        for file in modules(root, package):
            name = module_name(root, file)
            nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
            hashed = {id(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr == "encode"}
            printing = [
                node for node in nodes if isinstance(node, ast.Call) and _called(node) in ("print", "stdout.write")
            ]
            printed = {id(inner) for node in printing for inner in ast.walk(node)}
            for node in nodes:
                if not isinstance(node, ast.Call) or id(node) in hashed or name == "quire.terminal":
                    continue
                makes = _called(node).rsplit(".", 1)[-1] in ("dump", "dumps", "JSONEncoder")
                if makes and (".cli" in name or id(node) in printed):
                    faults.append(f"{name}, line {node.lineno}: {ast.unparse(node.func)}")
    return faults


def _called(call: ast.Call) -> str:
    """Return the last two parts of the name that a call is of."""
    return ".".join(ast.unparse(call.func).split(".")[-2:])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages in which a fault can be planted."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def plant(file: Path, *lines: str) -> None:
    with file.open("a", encoding="utf-8") as text:
        text.writelines(f"{line}\n" for line in lines)


def names_in(faults: Iterable[str], *words: str) -> list[str]:
    return [fault for fault in faults if all(word in fault for word in words)]


def test_packages_import_only_public_names_of_those_below_them() -> None:
    assert import_faults(ROOT) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(import_graph(ROOT)) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert circles(room_graph(ROOT)) == []


def test_a_planted_deep_import_is_found(tree: Path) -> None:
    plant(tree / "assistant" / "config.py", "def f():", "    from ingest.store.sqlite import SqliteStore")
    assert names_in(import_faults(tree), "assistant.config", "ingest.store.sqlite.SqliteStore", "not a public name")
    plant(tree / "streamlit_app" / "text.py", "import assistant.answering.agent")
    assert names_in(import_faults(tree), "streamlit_app.text", "assistant.answering.agent", "not a public name")


def test_a_planted_import_in_the_wrong_direction_is_found(tree: Path) -> None:
    plant(tree / "ingest" / "config.py", "def f():", "    from assistant import Agent")
    plant(tree / "finetune" / "config.py", "from ingest import ingest")
    plant(tree / "quire" / "home.py", "from ingest import ingest")
    found = names_in(import_faults(tree), "wrong direction")
    assert [fault.split()[0] for fault in found] == ["quire.home", "ingest.config", "finetune.config"]


def test_data_making_may_use_what_the_rest_of_finetune_may_not(tree: Path) -> None:
    (tree / "finetune" / "data" / "make").mkdir(exist_ok=True)
    plant(
        tree / "finetune" / "data" / "make" / "planted.py", "from ingest import ingest", "from assistant import Agent"
    )
    assert names_in(import_faults(tree), "finetune.data.make.planted") == []


def test_a_planted_circle_is_found(tree: Path) -> None:
    plant(tree / "ingest" / "text" / "one.py", "from ingest.text import two")
    plant(tree / "ingest" / "text" / "two.py", "def f():", "    from ingest.text.one import g")
    assert ["ingest.text.one", "ingest.text.two"] in circles(import_graph(tree))


def test_a_planted_circle_between_rooms_is_found(tree: Path) -> None:
    plant(tree / "ingest" / "text" / "one.py", "from ingest.pdf import two")
    plant(tree / "ingest" / "pdf" / "two.py", "from ingest.text import three")
    plant(tree / "ingest" / "text" / "three.py", "")
    assert circles(import_graph(tree)) == circles(import_graph(ROOT))
    [group] = [group for group in circles(room_graph(tree)) if "ingest.text" in group]
    assert "ingest.pdf" in group


def unresolved(root: Path, package: str) -> str:
    """Return the public names of a package that its modules do not have, as a process of its own finds them."""
    code = f"import {package} as p; print([name for name in p.__all__ if not hasattr(p, name)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    return done.stdout.strip()


@pytest.mark.parametrize("package", PACKAGES[:-1])
def test_every_public_name_exists_and_is_no_room(package: str) -> None:
    names = public_names(ROOT, package)
    assert len(names) > 5
    assert __import__(package).__all__ == sorted(names)
    assert unresolved(ROOT, package) == "[]"
    rooms = {path.name for path in (ROOT / package).iterdir() if path.is_dir()}
    assert not rooms & set(names)


def test_a_missing_public_name_is_found(tree: Path) -> None:
    plant(tree / "ingest" / "__init__.pyi", "from .config import no_such_name as no_such_name")
    assert unresolved(tree, "ingest") == "['no_such_name']"


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_and_its_commands_is_cheap(package: str) -> None:
    code = f"import {package}, {package}.cli, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_in_one_sentence_what_it_is(package: str) -> None:
    for file in modules(ROOT, package):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
        assert text, file
        first = text.splitlines()[0]
        assert first.endswith((".", ":")) or "\n" in text, file
        assert len(first) < 100, f"{file}: the first line has {len(first)} characters"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_long_module_gives_its_reason(package: str) -> None:
    for file in modules(ROOT, package):
        lines = file.read_text(encoding="utf-8").splitlines()
        if len(lines) > 400:
            assert any(line.startswith("# Long because") for line in lines[:40]), f"{file} has {len(lines)} lines"


def test_json_that_commands_print_is_made_in_one_place() -> None:
    assert json_faults(ROOT) == []


def test_json_that_is_printed_by_itself_is_found(tree: Path) -> None:
    plant(tree / "finetune" / "cli" / "plan.py", "import json", "def f(x):", "    y = json.dumps(x)", "    print(y)")
    plant(tree / "ingest" / "config.py", "import json, sys", "def g(x): sys.stdout.write(json.dumps(x))")
    plant(tree / "assistant" / "config.py", "from json import dumps", "def h(x): print('rows', dumps(x))")
    assert [fault.split(",")[0] for fault in json_faults(tree)] == [
        "ingest.config",
        "assistant.config",
        "finetune.cli.plan",
    ]


def test_no_pickle_and_no_unsafe_loader() -> None:
    for package in PACKAGES:
        for file in modules(ROOT, package):
            names = {module.split(".")[0] for module, _ in imports(file)}
            assert not names & {"pickle", "marshal", "shelve", "dill", "joblib", "langchain_community"}, file
