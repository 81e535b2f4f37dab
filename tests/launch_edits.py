"""One mistake each, as somebody would make it in a file that comes with HedgeGrid, and what is said of it."""

from __future__ import annotations

from typing import NamedTuple


class Mistake(NamedTuple):
    """In `file`, `old` (every one of them) becomes `new`; the refusal says `told`."""

    file: str
    old: str
    new: str
    told: str


GPU = "available_node_types.gpu"
WORKERS = "spec.rayClusterSpec.workerGroupSpecs[0]"
MISTAKES = [
    # Ray's own validation
    Mistake("aws.yaml", "idle_timeout_minutes", "idle_timeout_minute", "did you mean idle_timeout_minutes?"),
    Mistake("aws.yaml", "cluster_name: hedgegrid\n", "", "cluster_name: is needed"),
    Mistake("aws.yaml", "max_workers: 8", "max_workers: eight", "max_workers: 'eight' is not of type 'integer'"),
    Mistake("gcp.yaml", "head_node_type: head", "head_node_type: boss", "must be one of `available_node_types`"),
    Mistake("gcp.yaml", "    min_workers: 0", "    min_workers: 9", "Ray refuses the file: The specified global"),
    # the market
    Mistake("aws.yaml", "      InstanceMarketOptions: {MarketType: spot}\n", "", f"{GPU}.node_config.InstanceMarketOptions"),
    Mistake("aws.yaml", "InstanceType: m7i.xlarge", "InstanceMarketOptions: {MarketType: spot}", "the head is on demand"),
    Mistake("gcp.yaml", "provisioningModel: SPOT, ", "", f"{GPU}.node_config.scheduling: workers are spot machines"),
    Mistake("skypilot.yaml", "use_spot: true", "use_spot: false", "resources.use_spot: machines are spot, got False"),
    Mistake("kuberay-rayjob.yaml", 'nodeSelector: {cloud.google.com/gke-spot: "true"}', "nodeSelector: {}", "spot nodes"),
    # what idles
    Mistake("aws.yaml", "idle_timeout_minutes: 5\n", "", "idle_timeout_minutes: is needed, since idle machines cost"),
    Mistake("skypilot.yaml", "    down: true", "    down: false", "resources.autostop: idle machines are ended"),
    Mistake("kuberay-raycluster.yaml", "    idleTimeoutSeconds: 120\n", "", "autoscalerOptions.idleTimeoutSeconds: is"),
    Mistake("kuberay-rayjob.yaml", "shutdownAfterJobFinishes: true", "shutdownAfterJobFinished: true", "did you mean shut"),
    Mistake("kuberay-rayjob.yaml", "  activeDeadlineSeconds: 43200\n", "", "spec.activeDeadlineSeconds: is needed so that"),
    Mistake("kuberay-rayjob.yaml", "ttlSecondsAfterFinished: 60", "ttlSecondsAfterFinished: soon", "got 'soon'; set 60"),
    Mistake("kuberay-rayjob.yaml", "  backoffLimit: 2", "  backoffLimit: -1", "spec.backoffLimit: is needed"),
    # GPUs
    Mistake("gcp.yaml", "{CPU: 8, GPU: 1}", "{CPU: 8}", f"{GPU}.resources.GPU: Ray starts no machine for GPUs"),
    Mistake("kuberay-raycluster.yaml", ', nvidia.com/gpu: "1"', "", "a worker owns a GPU"),
    Mistake("kuberay-raycluster.yaml", "key: nvidia.com/gpu", "key: gpu", "tolerations: GPU nodes keep out"),
    Mistake("kuberay-rayjob.yaml", "maxReplicas: 8", "maxReplicas: 0", f"{WORKERS}: minReplicas <= replicas <= maxReplicas"),
    # ports
    Mistake("aws.yaml", "SecurityGroupIds: [sg-EDIT-ME]", "SecurityGroupIds: []", "lets the whole world try port 22"),
    Mistake("aws.yaml", "  region: us-east-1", "  region: us-east-1\n  security_group: {IpPermissions: [{FromPort: 8265, "
            "ToPort: 8265, IpProtocol: tcp, IpRanges: [{CidrIp: 0.0.0.0/0}]}]}", "IpPermissions[0]: no port is open"),
    Mistake("aws.yaml", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "the dashboard listens on loopback"),
    Mistake("gcp.yaml", "global/networks/hedgegrid", "global/networks/default", "a network of your own is needed"),
    Mistake("kuberay-raycluster.yaml", "serviceType: ClusterIP", "serviceType: LoadBalancer", "got LoadBalancer; set C"),
    Mistake("skypilot.yaml", "  use_spot: true", "  use_spot: true\n  ports: 8265", "resources.ports: no port is open"),
    Mistake("compose.yaml", '"127.0.0.1:5000:5000"', '"5000:5000"', "services.mlflow.ports: a port is on loopback"),
    Mistake("compose.yaml", '"127.0.0.1:5000:5000"', '"0.0.0.0:5000:5000"', "got '0.0.0.0:5000:5000' (0.0.0.0); write"),
    # tokens and secrets
    Mistake("aws.yaml", "RAY_AUTH_MODE=token ray start", "ray start", "head_start_ray_commands: Ray asks for a token"),
    Mistake("gcp.yaml", "  ~/.ray/auth_token: ~/.ray/auth_token\n", "", "file_mounts: the nodes need the token"),
    Mistake("kuberay-rayjob.yaml", "authOptions: {mode: token}", "authOptions: {mode: disabled}", "without a token"),
    Mistake("skypilot.yaml", "RAY_AUTH_TOKEN: null", "RAY_AUTH_TOKEN: 0123456789abcdef", "secrets.RAY_AUTH_TOKEN: no secret"),
    Mistake("compose.yaml", "POSTGRES_PASSWORD_FILE: /run/secrets/db_password", "POSTGRES_PASSWORD: hunter2", "got one of 7"),
    Mistake("compose.yaml", "mlflow@db", "mlflow:hunter2@db", "no secret stands in a file"),
    Mistake("Dockerfile", "ENV PATH", "ENV AWS_SECRET_ACCESS_KEY=abcdefgh PATH", ": no secret stands in a file, got one of 30"),
    # versions
    Mistake("aws.yaml", "ray:2.60.0-py311-gpu", "ray:latest", "docker.image: an image has an exact version"),
    Mistake("aws.yaml", "ray:2.60.0-py311-gpu", "ray:2.52.0-py311-gpu", "all nodes and the driver run one Ray, 2.60.0"),
    Mistake("gcp.yaml", "-py311-gpu", "-py310-gpu", "Python 3.11 or newer is needed, got 3.10"),
    Mistake("kuberay-rayjob.yaml", "rayVersion: 2.60.0", "rayVersion: 2.46.0", "spec.rayClusterSpec.rayVersion: all nodes"),
    Mistake("kuberay-rayjob.yaml", "hedgegrid:0.1.0", "hedgegrid", "containers[0].image: an image has an exact version"),
    Mistake("compose.yaml", "postgres:17.6-bookworm", "postgres", "services.db.image: an image has an exact version"),
    Mistake("compose.yaml", "mlflow==3.17.2", "mlflow==3.5.0", "server and client are one version, 3.17.2, got 3.5.0"),
    Mistake("Dockerfile", "cuda:12.9.1", "cuda:13.0.1", "CUDA is that of the compiler in constraints.txt, 12.9, got 13.0"),
    Mistake("Dockerfile", " --constraint constraints.txt", "", "RUN: packages have exact versions"),
    Mistake("skypilot.yaml", "--constraint constraints.txt ", "", "setup: nodes have the versions that the tests had"),
    # the rest
    Mistake("Dockerfile", "USER 10001:10001\n", "", "USER: the image does not run as root, got none"),
    Mistake("Dockerfile", "USER 10001", "RUN curl https://example.com/x | sh\nUSER 10001", "runs whatever the network"),
    Mistake("kuberay-raycluster.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "nothing here runs as root"),
    Mistake("kuberay-raycluster.yaml", 'num-cpus: "0"', "num-cpus: 0", "rayStartParams.num-cpus: a value is text, got 0"),
    Mistake("compose.yaml", "--allowed-hosts localhost:5000,127.0.0.1:5000", "--allowed-hosts '*'", "answers named hosts"),
    Mistake("compose.yaml", "volumes: [artifacts:/artifacts]", "volumes: [./a:/artifacts]", "data lies in a named volume"),
    Mistake("skypilot.yaml", " --resume", "", "run: a recovered task goes on where it was"),
    Mistake("aws.yaml", "upscaling_speed: 8.0", "upscaling_speed: 8.0\nmax_workers: 9", "max_workers: stands twice, in line "),
]  # fmt: skip
