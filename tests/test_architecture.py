"""The house rules, read from the syntax tree, so that the plan cannot drift from the code."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: A room imports from the lines below it only; rooms on one line never import each other.
LAYERS: list[set[str]] = [
    {"contracts"},
    {"artifacts"},
    {"retrieval", "ingestion", "feature_repo"},
    {"training", "serving", "monitoring"},
    {"releases"},
    {"recovery"},
    {"caravan", "caravan_airflow"},
]
ROOMS = set().union(*LAYERS)
LAYER = {room: number for number, layer in enumerate(LAYERS) for room in layer}
FOLDERS = {room: ROOT / ("plugins/caravan_airflow" if room == "caravan_airflow" else room) for room in ROOMS}
#: Floors of a room, the lowest first; those of one line never import each other. A file beside them is a floor too.
FLOORS: dict[str, list[set[str]]] = {
    "training": [
        {"recipes"},
        {"data"},
        {"jobs"},
        {"models"},
        {"sources"},
        {"ranker"},
        {"fitting"},
        {"evaluation"},
        {"gate"},
        {"search_check"},
        {"bundle"},
    ],
    "ingestion": [
        {"formats", "pseudonymize"},
        {"rules", "sources"},
        {"landing"},
        {"validation"},
    ],
    "releases": [
        {"text", "registration", "served_shop"},
        {"approval"},
        {"rollout", "model"},
        {"rollback", "overview", "log_retention", "disk_watch", "progress", "first_release", "overlay"},
        {"shop_switch"},
        {"__main__"},
    ],
    "serving": [
        {"reach", "callers", "bundle"},
        {"pipeline"},
        {"edge", "engine", "registered"},
        {"events"},
        {"http", "replay"},
        {"bootstrap"},
        {"__main__"},
    ],
    "recovery": [
        {"machine", "file_lock"},
        {"vault", "region_lease"},
        {"shipping"},
        {"snapshots"},
        {"erasure"},
        {"sweeping"},
        {"restore"},
        {"failback"},
        {"drills"},
    ],
    "caravan.stack": [
        {"host"},
        {"keys"},
        {"services"},
        {"supervision"},
        {"lifecycle"},
        {"machine", "container"},
    ],
    "caravan.cli": [
        {"console", "airflow_api"},
        {"data", "evaluate", "nightly", "recovery", "release", "replay", "stack", "alerts"},
        {"demo"},
        {"main"},
    ],
    "caravan_airflow": [
        {"conf"},
        {"active", "assets", "retries", "service", "step", "scheduler", "set_up"},
        {"triggers", "ui", "recovery"},
        {"nightly", "release"},
    ],
}
FLOOR_FOLDERS = {name: FOLDERS.get(name, ROOT / name.replace(".", "/")) for name in FLOORS}
#: Modules that a folder holds at most.
FOLDER_SIZE = 12
HEAVY = {"torch", "transformers", "mlflow", "feast", "evidently", "pandas", "onnxruntime", "pyspark", "ibis"}


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports(path: Path, *, module_level: bool = False) -> set[str]:
    """First parts of the names that a file imports; those under TYPE_CHECKING do not run and do not count."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if module_level and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name.split(".")[0] for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
                found.add(child.module.split(".")[0])
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def files() -> list[tuple[str, Path]]:
    return [(room, path) for room, folder in sorted(FOLDERS.items()) for path in sources(folder)]


@pytest.mark.parametrize(("room", "path"), files(), ids=lambda v: v if isinstance(v, str) else v.name)
def test_a_room_imports_only_from_below(room: str, path: Path) -> None:
    for name in imports(path) & ROOMS - {room}:
        assert LAYER[name] < LAYER[room], f"{path.relative_to(ROOT)} imports {name}"


@cache
def dotted(path: Path) -> set[str]:
    """Whole names that a file imports, of modules or of what is in them; all of them, wherever they stand."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


@pytest.mark.parametrize("room", FLOORS)
def test_a_floor_imports_only_from_below(room: str) -> None:
    level = {name: number for number, floor in enumerate(FLOORS[room]) for name in floor}
    folder = FLOOR_FOLDERS[room]
    there = {p.stem for p in folder.iterdir() if p.name not in ("__init__.py", "__pycache__")}
    assert there == set(level), "every floor of the room is in FLOORS"
    for path in sources(folder):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        for name in dotted(path):
            floor = name.removeprefix(f"{room}.").split(".")[0]
            if name.startswith(f"{room}.") and floor in level and floor != own and own != "__init__":
                assert level[floor] < level[own], f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("room", sorted(ROOMS & set(FLOORS)))
def test_tests_of_a_room_have_its_floors(room: str) -> None:
    folders = {path.name for path in (ROOT / "tests" / room).iterdir() if (path / "__init__.py").exists()}
    assert folders <= set().union(*FLOORS[room])


@pytest.mark.parametrize("room", FLOORS)
def test_no_folder_is_crowded(room: str) -> None:
    folders = {path.parent for path in sources(FLOOR_FOLDERS[room])}
    crowded = {str(f.relative_to(ROOT)): n for f in folders if (n := len(list(f.glob("[!_]*.py")))) > FOLDER_SIZE}
    assert crowded == {}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_modules_of_a_room_import_each_other_in_no_circle(room: str) -> None:
    folder = FOLDERS[room]
    names = {".".join((room, *path.relative_to(folder).with_suffix("").parts)): path for path in sources(folder)}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    needs = {}
    for name, path in names.items():
        found = dotted(path)
        needs[name] = {n if n in names else n.rpartition(".")[0] for n in found} & set(names) - {name}
    while free := [name for name, needed in needs.items() if not needed]:
        for name in free:
            del needs[name]
        for needed in needs.values():
            needed.difference_update(free)
    assert needs == {}, "a circle"


def test_nobody_imports_what_another_module_keeps_for_itself() -> None:
    wrong = []
    for _, path in files():
        for name in dotted(path):
            first, *rest = name.split(".")
            if first in ROOMS and any(part.startswith("_") and part != "__init__" for part in rest):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_airflow_and_feast_stay_in_their_rooms() -> None:
    for room, path in files():
        found = imports(path)
        assert room == "caravan_airflow" or "airflow" not in found, path
        assert room == "feature_repo" or "feast" not in found, path


def test_serving_runs_without_torch_and_training() -> None:
    for path in sources(ROOT / "serving"):
        assert not imports(path) & {"torch", "training", "transformers"}, path


def test_a_dag_file_is_wiring_and_light() -> None:
    for path in sources(ROOT / "dags"):
        found = imports(path, module_level=True)
        assert not found & HEAVY, path
        assert not found & (ROOMS - {"caravan_airflow", "contracts"}), path
    for path in sources(ROOT / "plugins"):
        assert not imports(path, module_level=True) & HEAVY, path


def test_no_dag_or_plugin_hides_a_room() -> None:
    for folder in ("dags", "plugins"):
        assert not {p.stem for p in (ROOT / folder).iterdir()} & (ROOMS - {"caravan_airflow"})


def test_nothing_is_pickled() -> None:
    """Reading a pickle runs code; no room may read or write one."""
    for _, path in files():
        assert not imports(path) & {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}, path
        text = path.read_text()
        assert "allow_pickle=True" not in text, path
        assert "torch.load(" not in text, path


def test_files_have_one_subject() -> None:
    long = {str(p.relative_to(ROOT)): n for _, p in files() if (n := len(p.read_text().splitlines())) > 300}
    assert not long, "files over 300 lines usually hide two"


def test_no_name_says_nothing() -> None:
    for _, path in files():
        assert path.stem not in {"utils", "util", "helpers", "helper", "manager", "common", "misc"}, path
