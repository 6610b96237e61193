"""The scripts that make hosts nodes: each is sound shell, whatever its values, and what they print is understood."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.cluster.k3s import nodes as phases
from components.cluster.k3s.doctor import Verdict, read
from components.cluster.k3s.scripts import file_script, launcher, script
from components.cluster.k3s.settings import K3sSettings
from tests.unit.k3s_examples import MIG, cluster

DASH = shutil.which("dash") or "/bin/sh"
SHELLCHECK = Path(__file__).parents[2] / ".venv/bin/shellcheck"
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "unhardened": {"cis": False, "node_pools": []},
    "mirrored": {"mirror": "/srv/k3s"},
    "driver": {"driver": {"install": True}},
}


def settings(**changed: Any) -> K3sSettings:
    return K3sSettings.model_validate(cluster(**changed))


def texts(made: K3sSettings) -> Iterator[tuple[str, str]]:
    for node in phases.nodes(made):
        yield f"{node.name}-preflight", phases.preflight(node, made)
        yield f"{node.name}-prepare", phases.prepare(node, made)
        yield f"{node.name}-secrets", phases.secrets(node, "it's", "a-secret", "mirrors: {}\n")
        yield f"{node.name}-drain", phases.drain(node, made)
        yield f"{node.name}-node", phases.install(node, made, "0f1e")
        yield f"{node.name}-settle", phases.settle(node, made)
    for name in ("tokens", "identity", "kubeconfig"):
        yield name, phases.reading(name, made.version)
    yield "mig", file_script("mig", values={"HOST": "gpu-1", "MIG_PROFILE": "3g.40gb", "MIG_COUNT": "2"})


def run(text: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DASH, "-s", "--", *arguments], input=text, cwd=cwd, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_script_passes_shellcheck_and_is_read_by_a_posix_shell(variant: str, tmp_path: Path) -> None:
    files = []
    for name, text in texts(settings(**VARIANTS[variant])):
        file = tmp_path / f"{name}.sh"
        file.write_text(text)
        files.append(str(file))
        assert subprocess.run([DASH, "-n", file], check=False, capture_output=True, text=True).stderr == "", name
    checked = subprocess.run([SHELLCHECK, "-s", "sh", *files], check=False, capture_output=True, text=True)
    assert checked.stdout == ""
    assert len(files) > 20


def test_no_script_but_that_of_the_secrets_holds_one() -> None:
    made = settings(
        registries={"docker.io": {"username": "puller", "password": "hunter2-hunter2"}},
        ssh={"user": "ops", "private_key": "PRIVATE-KEY"},
    )
    for name, text in texts(made):
        assert "hunter2" not in text, name
        assert "PRIVATE-KEY" not in text, name
        assert ("it'\\''s" in text) is name.endswith("-secrets"), name


@pytest.mark.parametrize("value", ["plain", "it's", "$(touch made)", "`touch made`", "a\nb; touch made", '"; touch made #'])
def test_values_reach_a_script_as_they_are(value: str, tmp_path: Path) -> None:
    text = script("lib", values={"HOST": value}).partition("\ncase $1")[0]
    done = run(f'{text}\nprintf %s "$HOST"\n', cwd=tmp_path)
    assert done.stdout == value
    assert not (tmp_path / "made").exists()


def test_a_file_is_written_only_when_it_differs_and_is_never_readable_by_others(tmp_path: Path) -> None:
    text = "set -eu\numask 077\nHOST=h\n" + "".join(
        (Path(phases.__file__).parent / "scripts" / name).read_text() for name in ("lib.sh", "local.sh")
    )
    target = tmp_path / "deep" / "token"
    write = f"{text}\nprintf 'abc\\n' | write_file {target} 0600\n"
    assert run(write).returncode == 0
    before = target.stat()
    assert before.st_mode & 0o777 == 0o600
    assert run(write).returncode == 0
    assert target.stat().st_ino == before.st_ino
    target.chmod(0o644)
    assert run(write).returncode == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(target.parent.iterdir()) == [target]


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = script("lib", "local", values={"HOST": "gpu-1"}).partition("\ncase $1")[0]
    done = run(f"{text}\necho x | write_file {tmp_path}/file/below 0600\n")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"gpu-1: {tmp_path}/file/below cannot be written; make room")


def test_the_preflight_runs_to_its_end_here_and_every_fault_has_a_sentence_and_a_remedy() -> None:
    made = settings()
    gpu = next(node for node in phases.nodes(made) if node.name == "gpu-1")
    done = run(phases.preflight(gpu, made), "report")
    findings = read(done.stdout)
    assert {"system", "kernel", "size", "disk", "swap", "cgroups", "clock", "hostname", "ports", "accelerators"} <= {
        f.check for f in findings
    }
    faults = [finding for finding in findings if finding.verdict is Verdict.FAULT]
    # No test machine has eight H100.
    assert "accelerators" in {fault.check for fault in faults}
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"gpu-1: {fault.sentence}; {fault.remedy}" for fault in faults]
    assert all(fault.sentence and fault.remedy for fault in faults)


@pytest.mark.parametrize(
    ("version", "least", "enough"),
    [
        ("580.95.05", "580", True),
        ("580", "580", True),
        ("575.64", "580", False),
        ("5.8.0", "5.8", True),
        ("5.15.0", "5.8", True),
        ("4.18.0", "5.8", False),
        ("1.17.8", "1.17.8", True),
        ("1.9.0", "1.17.8", False),
        ("1.20.1", "1.17.8", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, least: str, enough: bool) -> None:
    made = settings()
    text = phases.preflight(phases.nodes(made)[0], made).partition("\ncase $1")[0]
    assert (run(f"{text}\nat_least {version} {least}\n").returncode == 0) is enough


def test_a_file_from_the_mirror_that_is_not_the_release_is_refused(tmp_path: Path) -> None:
    made = settings(mirror=str(tmp_path))
    release = tmp_path / made.version
    release.mkdir()
    (release / "k3s").write_text("not k3s")
    (release / "sha256sum-amd64.txt").write_text(f"{'0' * 64}  k3s\n")
    work = tmp_path / "work"
    work.mkdir()
    text = phases.install(phases.nodes(made)[0], made, "id").partition("\ncase $1")[0]
    fetched = f"take - $VERSION/k3s {work}/k3s\ntake - $VERSION/sha256sum-amd64.txt {work}/sums\n"
    done = run(f"{text}\n{fetched}verify {work}/k3s k3s {work}/sums\n")
    assert done.returncode == 1
    assert done.stderr.startswith("rack-1: k3s of v1.36.3+k3s1 is not what its checksum says")
    assert not work.exists()
    done = run(f"{text}\ntake - $VERSION/missing {tmp_path}/x\n")
    assert f"rack-1: the mirror has no {tmp_path}/v1.36.3+k3s1/missing" in done.stderr


def test_a_user_without_sudo_is_told_what_to_do(tmp_path: Path) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    sudo.chmod(0o755)
    command = launcher("apply", "gpu-1", "ops", sudo=True)
    done = subprocess.run(
        ["sh", "-c", command], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False, capture_output=True, text=True, input=""
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("gpu-1: ops may not become root with sudo without a password; run visudo")


@pytest.mark.parametrize("product", ["H100-80GB", "NVIDIA-H100-80GB-HBM3"])
def test_the_instances_of_a_gpu_come_from_the_catalogue_and_k3s_gets_its_labels_and_taints(product: str) -> None:
    made = settings(node_pools=[{**MIG, "accelerator": {**MIG["accelerator"], "product": product}}])
    (gpu,) = (node for node in phases.nodes(made) if node.pool)
    text = phases.install(gpu, made, "id")
    assert "MIG_PROFILE='3g.40gb'\nMIG_COUNT='2'" in text
    config = yaml.safe_load(gpu.config)
    assert config["node-label"] == [
        "llm-platform/pool=h100",
        # The operator's MIG manager is told nothing: the host cuts its GPUs itself.
        "nvidia.com/device-plugin.config=mig-mixed",
    ]
    assert config["node-taint"] == ["nvidia.com/gpu=present:NoSchedule"]
    assert config["token-file"] == "/etc/rancher/k3s/agent-token"
