"""Reading one context out of a kubeconfig."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.cluster.kubeconfig import cluster_identity, kubeconfig_path, read_context
from components.inputs import InputError


def _config(**cluster: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "other",
        "contexts": [
            {"name": "mine", "context": {"cluster": "c1", "user": "u1", "namespace": "n"}},
            {"name": "other", "context": {"cluster": "c2", "user": "u2"}},
        ],
        "clusters": [
            {"name": "c1", "cluster": {"server": "https://one:6443"} | cluster},
            {"name": "c2", "cluster": {"server": "https://two:6443"}},
        ],
        "users": [{"name": "u1", "user": {"token": "t"}}, {"name": "u2", "user": {"token": "secret-of-another-cluster"}}],
    }


def _write(content: object, directory: Path) -> Path:
    file = directory / "config"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return file


def test_only_the_chosen_context_leaves_the_file(tmp_path: Path) -> None:
    text = read_context(_write(_config(), tmp_path), "mine", "here")
    assert yaml.safe_load(text)["current-context"] == "mine"
    assert "https://one:6443" in text
    assert "two" not in text
    assert "secret-of-another-cluster" not in text


def test_files_it_names_travel_with_it(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("PEM")
    text = read_context(_write(_config(**{"certificate-authority": "ca.crt"}), tmp_path), "mine", "here")
    cluster = yaml.safe_load(text)["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"PEM"
    assert "certificate-authority" not in cluster


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (_config() | {"contexts": []}, "'mine' is not a context of the kubeconfig {file}; use one of: none"),
        (_config() | {"clusters": []}, "names the cluster 'c1' but does not hold it"),
        ("- a list", "the kubeconfig {file} is not a kubeconfig"),
        (_config(**{"certificate-authority": "gone"}), "names certificate-authority: gone, which cannot be read"),
    ],
)
def test_a_file_that_cannot_work_gets_a_sentence(content: object, sentence: str, tmp_path: Path) -> None:
    file = _write(content, tmp_path)
    with pytest.raises(InputError) as caught:
        read_context(file, "mine", "here")
    assert sentence.format(file=file) in str(caught.value)


def test_a_missing_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="set KUBECONFIG to a file that has this context"):
        read_context(tmp_path / "gone", "mine", "here")


def test_the_identity_outlives_an_address_but_not_the_authority() -> None:
    def identity(server: str, authority: str) -> str:
        data = base64.b64encode(authority.encode()).decode()
        config = _config(**{"server": server, "certificate-authority-data": data}) | {"current-context": "mine"}
        return cluster_identity(yaml.safe_dump(config))

    assert identity("https://a", "ca-1") == identity("https://b", "ca-1")
    assert identity("https://a", "ca-1") != identity("https://a", "ca-2")


def test_the_path_is_the_one_kubectl_would_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kubeconfig_path() == Path.home() / ".kube" / "config"
    monkeypatch.setenv("KUBECONFIG", "/first:/second")
    assert kubeconfig_path() == Path("/first")
