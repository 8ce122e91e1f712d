"""What is deployed is as it should be, as far as the files tell; scripts/test-kubernetes.sh asks Kubernetes itself."""

import os
import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("ARGON_BIN", ROOT / "build/release/bin"))
KUBERNETES = ROOT / "deploy/kubernetes"
VERSION = re.search(r"^project\(argon VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.M).group(1)
SERVICES = {"argon-wal": "wal-service", "argon-branch": "branch-service"}


def documents(folder):
    """Every object of the manifests below a folder; kustomizations apart."""
    for path in sorted(folder.rglob("*.yaml")):
        if path.name != "kustomization.yaml" and path.parent.name != "config":
            yield from filter(None, yaml.safe_load_all(path.read_text()))


BASE = list(documents(KUBERNETES / "base"))
WORKLOADS = {item["metadata"]["name"]: item for item in BASE if item["kind"] in ("Deployment", "StatefulSet")}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def of_kind(kind, name):
    return next(item for item in BASE if item["kind"] == kind and item["metadata"]["name"] == name)


def pod_of(name):
    return WORKLOADS[name]["spec"]["template"]["spec"]


def container_of(name):
    (container,) = pod_of(name)["containers"]
    return container


def stage(program):
    """A stage of the Dockerfile, as text."""
    return re.search(rf"^FROM base AS {program}\n(.*?)(?=^FROM |\Z)", (ROOT / "Dockerfile").read_text(), re.M | re.S).group(1)


def environment(program):
    line = re.search(r"^ENV (.*)", stage(program), re.M).group(1)
    return {**os.environ, **dict(item.split("=") for item in line.split())}


def test_both_services_are_there():
    assert set(WORKLOADS) == set(SERVICES)


def test_every_file_belongs_to_a_kustomization_and_is_there():
    named = set()
    for path in KUBERNETES.rglob("kustomization.yaml"):
        kustomization = yaml.safe_load(path.read_text())
        files = [*kustomization.get("resources", ())]
        for generator in kustomization.get("configMapGenerator", ()):
            files += [entry.split("=")[-1] for entry in generator["files"]]
        for file in files:
            assert (path.parent / file).exists(), f"{path} names {file}"
            named.add((path.parent / file).resolve())
    for path in KUBERNETES.rglob("*.yaml"):
        assert path.name == "kustomization.yaml" or path.resolve() in named, f"nobody applies {path}"


def test_versions_are_fixed_and_one():
    images = {image["name"]: image["newTag"] for image in yaml.safe_load((KUBERNETES / "base/kustomization.yaml").read_text())["images"]}
    assert images == {f"argon/{program}": VERSION for program in SERVICES.values()}
    assert {container_of(name)["image"] for name in SERVICES} == set(images)
    for name, service in COMPOSE.items():
        assert re.fullmatch(r".+:(v?\d+\.\d+\.\d+|\$\{ARGON_IMAGE_TAG:-" + re.escape(VERSION) + r"\})", service["image"]), name
    assert f"argon/argon:{VERSION}" in (ROOT / "tests/kubernetes/pods.yaml").read_text()
    assert f'org.opencontainers.image.version="{VERSION}"' in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_pods_are_of_the_restricted_level(name):
    pod, container = pod_of(name), container_of(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert "USER 65532:65532\n" in stage(SERVICES[name])


def test_the_namespace_takes_no_others():
    (namespace,) = documents(KUBERNETES / "overlays/embedded")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", SERVICES)
def test_probes_and_resources(name):
    container = container_of(name)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == container["ports"][0]["containerPort"]
    assert "service" not in container["readinessProbe"]["grpc"]
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", SERVICES)
def test_there_is_time_to_drain(name):
    pod, container = pod_of(name), container_of(name)
    options = yaml.safe_load((KUBERNETES / f"base/config/{name.removeprefix('argon-')}.yaml").read_text())
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pause + int(options["grace"].removesuffix("s")) + 5 <= pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name,program", SERVICES.items())
def test_the_services_take_their_options(name, program):
    file = KUBERNETES / f"base/config/{name.removeprefix('argon-')}.yaml"
    command = [str(BIN / program), "--config", str(file), "--check-config"]
    checked = subprocess.run(command, capture_output=True, text=True, env=environment(program), timeout=60)
    assert checked.returncode == 0, checked.stderr
    assert container_of(name)["args"] == ["--config", f"/etc/argon/{file.name}"]


@pytest.mark.parametrize("name,program", SERVICES.items())
def test_ports_are_those_of_the_image(name, program):
    exposed = [int(port) for port in re.search(r"^EXPOSE (.*)", stage(program), re.M).group(1).split()]
    assert [port["containerPort"] for port in container_of(name)["ports"]] == exposed
    served = environment(program)
    for port in exposed:
        assert f"0.0.0.0:{port}" in served.values()
    policy = of_kind("NetworkPolicy", name)
    assert [rule["ports"][0]["port"] for rule in policy["spec"]["ingress"]] == exposed


def test_metrics_are_asked_for_where_they_are():
    (monitor,) = documents(KUBERNETES / "monitoring")
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    for name in SERVICES:
        assert name in expression["values"]
        with_metrics = [
            item["metadata"]["name"]
            for item in BASE
            if item["kind"] == "Service"
            and item["metadata"]["labels"]["app.kubernetes.io/name"] == name
            and any(port["name"] == monitor["spec"]["endpoints"][0]["port"] for port in item["spec"]["ports"])
        ]
        assert len(with_metrics) == 1, "each pod is to be asked once"


def test_replicas_are_the_autoscalers_and_the_budget_holds_for_them():
    deployment = WORKLOADS["argon-branch"]["spec"]
    autoscaler, budget = of_kind("HorizontalPodAutoscaler", "argon-branch")["spec"], of_kind("PodDisruptionBudget", "argon-branch")["spec"]
    assert "replicas" not in deployment
    assert autoscaler["scaleTargetRef"]["name"] == "argon-branch" and autoscaler["minReplicas"] >= 2
    assert budget["selector"] == deployment["selector"] and budget["maxUnavailable"] == 1
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    (apart,) = deployment["template"]["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert apart["podAffinityTerm"]["labelSelector"] == deployment["selector"]


def test_one_process_has_the_log_and_it_stays():
    wal = WORKLOADS["argon-wal"]["spec"]
    assert wal["replicas"] == 1
    assert wal["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of("argon-wal")["volumeMounts"]}
    assert mounts[wal["volumeClaimTemplates"][0]["metadata"]["name"]] == environment("wal-service")["ARGON_WAL_DATA"]


def test_secrets_come_by_reference():
    for path in [*KUBERNETES.rglob("*.yaml"), ROOT / "docker-compose.yml"]:
        text = path.read_text()
        assert not re.search(r"mongodb(\+srv)?://[^/\s]*@", text), f"{path} has a password"
        assert "kind: Secret\n" not in text, f"{path} has a secret"
    patch = yaml.safe_load(yaml.safe_load((KUBERNETES / "overlays/mongodb/kustomization.yaml").read_text())["patches"][0]["patch"])
    assert patch[0]["value"] == [{"name": "ARGON_MONGODB", "valueFrom": {"secretKeyRef": {"name": "argon-mongodb", "key": "uri"}}}]


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_services_are_as_confined(name):
    service = COMPOSE[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")
    program = re.match(r"docker.io/argon/([a-z-]+):", service["image"])
    if program:
        command = [str(BIN / program.group(1)), *service["command"], "--check-config"]
        checked = subprocess.run(command, capture_output=True, text=True, env=environment(program.group(1)), timeout=60)
        assert checked.returncode == 0, checked.stderr
