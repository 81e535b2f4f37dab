"""Safe by default: what our code never does, which versions it wants, and what `hedgegrid doctor` says of both."""

from __future__ import annotations

import ast
import os
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import tracking
from cluster import safety
from cluster.safety import FLOORS, Finding, heard

ROOT = Path(__file__).resolve().parents[1]
FILES = [path for name in ("kernels", "search", "tracking", "cluster") for path in sorted((ROOT / name).rglob("*.py"))]

# ---- what our code never does

MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "torch"}
CALLS = {"eval", "read_pickle", "to_pickle", "log_model", "load_model", "unsafe_load", "full_load", "system", "mktemp"}
LOADERS = {"FileLoader"}  # of YAML: made of SafeLoader, as a test below holds
ONCE = {
    "kernels/loading.py": {"exec", "compile"},  # a user's own strategy file is code, and is run as what it is
    "search/own_sampler.py": {"exec", "compile"},  # as is a user's own sampler
    "kernels/backends/numba.py": {"exec", "compile"},  # source generated from a strategy
}


def named(call: ast.Call) -> str:
    """The last word of what is called: `load` of `yaml.load(...)`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def owner(call: ast.Call) -> str:
    """The word before it: `yaml` of `yaml.load(...)`."""
    if isinstance(call.func, ast.Attribute):
        return ast.unparse(call.func.value).rpartition(".")[2]
    return ""


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Every way in which the code could run what it reads, or hand words to a shell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if named(node) in CALLS or (named(node) in {"exec", "compile"} and not owner(node)):
                yield named(node)
            if keywords.get("allow_pickle", "False") != "False" or keywords.get("shell", "False") != "False":
                yield ast.unparse(node)
            if owner(node) == "yaml" and named(node) in {"load", "load_all"}:
                loader = keywords.get("Loader") or (ast.unparse(node.args[1]) if len(node.args) > 1 else "none")
                if loader not in LOADERS:
                    yield f"yaml.load with {loader}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_our_code_runs_nothing_that_it_reads(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    found = set(unsafe(ast.parse(path.read_text()))) - ONCE.get(name, set())
    assert not found, f"{name} uses {', '.join(sorted(found))}"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "torch.load(path)\nimport torch",
        "eval(text)",
        "exec(text)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(text, shell=True)",
        "mlflow.pyfunc.log_model(model)",
    ],
)
def test_the_search_for_unsafe_code_finds_it(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


def test_yaml_is_read_by_a_safe_loader() -> None:
    import yaml

    from cluster.study_text import FileLoader

    assert issubclass(FileLoader, yaml.SafeLoader)
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.load("!!python/object/apply:os.getcwd []", Loader=FileLoader)


# ---- versions and telemetry


def test_the_versions_wanted_are_those_with_the_fixes() -> None:
    """docs/security.md says which; `hedgegrid doctor` looks at what is installed."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {f"{package}>={floor}" for package, floor in FLOORS.items()} <= set(wanted)
    assert FLOORS == {"mlflow": "3.17.2", "ray": "2.56"}


def test_nobody_is_told_that_a_study_ran() -> None:
    assert tracking  # whose import sets them before MLflow is imported
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


# ---- what the doctor says


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def about(what: str) -> Finding:
    (finding,) = (f for f in safety.findings() if f.what == what)
    return finding


def test_a_token_that_others_may_read_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert about("Ray token").good
    token = home / "token"
    token.write_text("secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    token.chmod(0o644)
    assert not about("Ray token").good
    assert f"chmod go= {token}" in about("Ray token").text
    token.chmod(0o600)
    assert about("Ray token").good
    assert "secret" not in about("Ray token").text
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert not about("Ray token").good


def test_code_and_records_that_others_may_write_are_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("kernels.backends.numba")
    cache, records = home / "cache", home / "mlflow.db"
    cache.mkdir()
    records.touch()
    monkeypatch.setattr(numba, "CACHE", cache)
    for mode, good in ((0o700, True), (0o777, False)):
        cache.chmod(mode)
        records.chmod(mode)
        found = {f.what: f.good for f in safety.findings(records)}
        assert (found["kernel cache"], found["MLflow file"]) == (good, good)


def test_a_version_below_the_floor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert about("versions").good
    monkeypatch.setitem(safety.FLOORS, "ray", "99.0")
    assert not about("versions").good
    assert "pip install 'ray>=99.0'" in about("versions").text


@pytest.mark.parametrize(("address", "good"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_what_listens_beyond_loopback_is_found(address: str, good: bool) -> None:
    """A listener stands for Ray's: it is told by the name of its process, which is this one's."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        (found,) = (each for each in heard(lambda _: True) if each.port == port)
    assert found.on_loopback is good


def test_the_doctor_shows_every_finding(home: Path) -> None:
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123 - nothing is written
    from cluster.doctor import examine

    examine(console)
    console.file.close()
    shown = console.export_text()
    for finding in safety.findings():
        assert finding.what in shown
