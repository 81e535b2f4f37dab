"""A file for KubeRay: what HedgeGrid asks of a RayJob or RayCluster before `kubectl apply` asks the cluster's own CRD."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from cluster.launch_file import get, mapping, sequence
from cluster.launch_rules import image_problems, ray_problems

GPU = "nvidia.com/gpu"
SPOT = {
    "cloud.google.com/gke-spot": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
# Keys of ray.io/v1. Others are left to the cluster's CRD, which may be newer; a near miss of one of these is a mistake.
JOB_KEYS = """activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint entrypointNumCpus
    entrypointNumGpus entrypointResources jobId managedBy metadata rayClusterSpec runtimeEnvYAML
    shutdownAfterJobFinishes submissionMode submitterConfig submitterPodTemplate suspend ttlSecondsAfterFinished"""
CLUSTER_KEYS = """authOptions autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions headGroupSpec
    headServiceAnnotations managedBy rayVersion suspend upgradeStrategy workerGroupSpecs"""
HEAD_KEYS = "enableIngress headService labels rayStartParams resources serviceType template"
WORKER_KEYS = """groupName idleTimeoutSeconds labels maxReplicas minReplicas numOfHosts rayStartParams replicas
    resources scaleStrategy suspend template"""
AUTOSCALER_KEYS = """env envFrom idleTimeoutSeconds image imagePullPolicy resources securityContext upscalingMode
    version volumeMounts"""
JOB_ENDS: dict[str, tuple[Callable[[Any], bool], str, str]] = {  # (allowed, an example, why)
    "shutdownAfterJobFinishes": (lambda x: x is True, "true", "a finished study's machines are ended"),
    "ttlSecondsAfterFinished": (lambda x: _whole(x, 0), "60", "a finished study's machines are ended soon"),
    "activeDeadlineSeconds": (lambda x: _whole(x, 1), "43200", "an endless study is ended"),
    "backoffLimit": (lambda x: _whole(x, 0), "2", "a study that lost its head goes on, and not for ever"),
}


def kuberay_problems(documents: tuple[dict[str, Any], ...]) -> Iterator[str]:
    """Every mistake of the file's RayJobs and RayClusters."""
    for document in documents:
        kind, spec = document.get("kind"), document.get("spec")
        if kind == "RayJob":
            yield from _job_problems(spec)
            yield from _cluster_problems("spec.rayClusterSpec", get(spec, "rayClusterSpec"))
        elif kind == "RayCluster":
            yield from _cluster_problems("spec", spec)
        elif str(document.get("apiVersion", "")).startswith("ray.io/"):
            yield f"kind: RayJob or RayCluster is checked here, got {kind!r}"
        if kind == "Secret" and (document.get("data") or document.get("stringData")):
            yield "kind: no secret stands in a file; make it with kubectl create secret"


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _near_misses(path: str, value: Any, keys: str) -> Iterator[str]:
    known = keys.split()
    for key in sorted(map(str, mapping(value).keys() - {*known})):
        for near in difflib.get_close_matches(key, known, n=1, cutoff=0.8):
            yield f"{path}.{key}: unknown key; did you mean {near}?"


def _job_problems(spec: Any) -> Iterator[str]:
    yield from _near_misses("spec", spec, JOB_KEYS)
    for key, (allowed, example, why) in JOB_ENDS.items():
        if not allowed(value := get(spec, key)):
            yield f"spec.{key}: is needed so that {why}, got {value!r}; set {example}"
    if not get(spec, "entrypoint"):
        yield "spec.entrypoint: is needed: hedgegrid run STUDY.yaml --resume, with compute.address=$RAY_ADDRESS"
    submitter = get(spec, "submitterPodTemplate")
    if submitter is not None:
        yield from _pod_problems("spec.submitterPodTemplate", submitter)


def _cluster_problems(path: str, spec: Any) -> Iterator[str]:
    yield from _near_misses(path, spec, CLUSTER_KEYS)
    yield from ray_problems(f"{path}.rayVersion", get(spec, "rayVersion"))
    if get(spec, "authOptions", "mode") != "token":
        got = get(spec, "authOptions")
        yield f"{path}.authOptions: whoever reaches Ray runs what they like without a token, got {got}; set {{mode: token}}"
    if get(spec, "enableInTreeAutoscaling") is not True:
        got = get(spec, "enableInTreeAutoscaling")
        yield f"{path}.enableInTreeAutoscaling: workers come and go with the work, got {got}; set true"
    yield from _near_misses(f"{path}.autoscalerOptions", get(spec, "autoscalerOptions"), AUTOSCALER_KEYS)
    if not _whole(idle := get(spec, "autoscalerOptions", "idleTimeoutSeconds"), 1):
        yield f"{path}.autoscalerOptions.idleTimeoutSeconds: is needed, idle GPUs cost as busy ones, got {idle}; set 120"
    yield from _head_problems(f"{path}.headGroupSpec", get(spec, "headGroupSpec"))
    groups = get(spec, "workerGroupSpecs")
    if not isinstance(groups, list) or not groups:
        yield f"{path}.workerGroupSpecs: is needed, a list of groups of workers, got {groups!r}"
        return
    for i, group in enumerate(groups):
        yield from _worker_problems(f"{path}.workerGroupSpecs[{i}]", group)


def _head_problems(path: str, head: Any) -> Iterator[str]:
    yield from _near_misses(path, head, HEAD_KEYS)
    if (service := get(head, "serviceType")) not in (None, "ClusterIP"):
        yield f"{path}.serviceType: no port is open to the world, got {service}; set ClusterIP, and use port-forward"
    if get(head, "enableIngress") is True:
        yield f"{path}.enableIngress: no port is open to the world, got true; remove it, and use port-forward"
    if _spot(head):
        yield f"{path}.template.spec.nodeSelector: the head is on demand, got spot; losing the head ends the study"
    yield from _group_problems(path, head)


def _worker_problems(path: str, group: Any) -> Iterator[str]:
    yield from _near_misses(path, group, WORKER_KEYS)
    least, now, most = (get(group, key) for key in ("minReplicas", "replicas", "maxReplicas"))
    given = [least, least if now is None else now, most]
    if not all(_whole(number, 0) for number in given) or given != sorted(given) or most == 0:
        yield f"{path}: minReplicas <= replicas <= maxReplicas must be given, got {least}, {now}, {most}"
    limits = mapping(group, "template", "spec", "containers", 0, "resources", "limits")
    at = f"{path}.template.spec"
    if not _whole(int(limits[GPU]) if str(limits.get(GPU, "")).isdecimal() else None, 1):
        yield f'{at}.containers[0].resources.limits: a worker owns a GPU, got {limits}; add {GPU}: "1"'
    tolerated = [get(toleration, "key") for toleration in sequence(group, "template", "spec", "tolerations")]
    if GPU not in tolerated:
        yield f"{at}.tolerations: GPU nodes keep out whoever does not tolerate {GPU}, got {tolerated}; add it"
    if not _spot(group):
        some = ", ".join(f'{key}: "{value}"' for key, value in SPOT.items())
        yield f"{at}.nodeSelector: workers run on spot nodes, a lost one costs a study only time; add one of {some}"
    yield from _group_problems(path, group)


def _spot(group: Any) -> bool:
    chosen = mapping(group, "template", "spec", "nodeSelector")
    return any(str(chosen.get(key, "")).lower() == value.lower() for key, value in SPOT.items())


def _group_problems(path: str, group: Any) -> Iterator[str]:
    parameters = get(group, "rayStartParams")
    for key, value in parameters.items() if isinstance(parameters, dict) else ():
        if not isinstance(value, str):
            yield f"{path}.rayStartParams.{key}: a value is text, got {value!r}; put it in quotes"
    yield from _pod_problems(f"{path}.template", get(group, "template"))


def _pod_problems(path: str, template: Any) -> Iterator[str]:
    pod = get(template, "spec")
    containers = get(pod, "containers")
    if not isinstance(containers, list) or not containers:
        yield f"{path}.spec.containers: is needed, a list of containers, got {containers!r}"
        return
    if get(pod, "securityContext", "runAsNonRoot") is not True:
        yield f"{path}.spec.securityContext: nothing here runs as root; set {{runAsNonRoot: true}}"
    if get(pod, "hostNetwork") is True:
        yield f"{path}.spec.hostNetwork: no port is open to the world, got true; remove it"
    for i, container in enumerate(containers):
        at = f"{path}.spec.containers[{i}]"
        yield from image_problems(f"{at}.image", get(container, "image"))
        for resource in ("cpu", "memory"):
            if not get(container, "resources", "limits", resource):
                yield f"{at}.resources.limits.{resource}: is needed, since Ray sizes a node by it"
        requests, limits = (mapping(container, "resources", key) for key in ("requests", "limits"))
        if GPU in requests and str(requests[GPU]) != str(limits.get(GPU)):
            yield f"{at}.resources: {GPU} is requested as it is limited, got {requests[GPU]} and {limits.get(GPU)}"
        if get(container, "securityContext", "privileged") is True:
            yield f"{at}.securityContext.privileged: nothing here needs it; remove it"
        for port in sequence(container, "ports"):
            if get(port, "hostPort") is not None:
                yield f"{at}.ports: no port of a node is taken, got hostPort {port['hostPort']}; remove it"


def kuberay_rows(documents: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, ...]]:
    """What would be launched: (what, how many, machine, market, image) per document or group."""
    for document in documents:
        kind, spec = str(document.get("kind")), document.get("spec")
        if kind not in ("RayJob", "RayCluster"):
            size = get(spec, "resources", "requests", "storage") or ""
            yield kind, "1", str(size), "", ""
            continue
        cluster = get(spec, "rayClusterSpec") if kind == "RayJob" else spec
        yield f"{kind} head", "1", *_pod_row(get(cluster, "headGroupSpec"))
        for group in sequence(cluster, "workerGroupSpecs"):
            number = f"{get(group, 'minReplicas')} to {get(group, 'maxReplicas')}"
            yield f"workers {get(group, 'groupName')}", number, *_pod_row(group)


def _pod_row(group: Any) -> tuple[str, str, str]:
    container = get(group, "template", "spec", "containers", 0)
    limits = mapping(container, "resources", "limits")
    machine = ", ".join(
        f"{limits[key]} {unit}" for key, unit in (("cpu", "cores"), ("memory", ""), (GPU, "GPU")) if key in limits
    )
    return machine.replace(" ,", ","), "spot" if _spot(group) else "on demand", str(get(container, "image"))
