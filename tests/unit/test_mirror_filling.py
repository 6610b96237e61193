"""Filling a mirror from registries, a web server and a hub on loopback: whole, verified, gone on with after a break."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import yaml

from components.storage.download_job import PATTERNS
from report.mirror.downloads import checksum_in
from report.mirror.filling import Directory, Outcome
from report.mirror.needs import Chart, File, Image, Model, Needs
from tests.conftest import ROOT
from tests.hugging_face_hub import Hub, hub
from tests.image_registry import INDEX, Registry, registry

REVISION = "a" * 40
LAYER, COMMON = b"layer" * 50_000, b"common" * 10_000
WEIGHTS = b"w" * 200_000
NOTHING = Needs((), (), (), (), ())


@pytest.fixture(name="there")
def there_fixture() -> Iterator[Registry]:
    with registry() as state:
        yield state


@pytest.fixture(name="here")
def here_fixture() -> Iterator[Registry]:
    with registry() as state:
        yield state


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(name="web")
def web_fixture(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server of files, which knows nothing of ranges."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()


def _fetch(folder: Path, needs: Needs) -> list[Outcome]:
    """Without the packages of Python, which take an index."""
    return [each for each in Directory(folder).fetch(needs, Path("/dev/null")) if each.kind != "python"]


def _faults(outcomes: Sequence[Outcome]) -> list[str | None]:
    return [each.fault for each in outcomes]


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Images


def test_an_image_is_fetched_whole_and_pushed_as_it_was(there: Registry, here: Registry, tmp_path: Path) -> None:
    digest = there.push_image("team/engine", "1.0", [LAYER, COMMON])
    needs = replace(NOTHING, images=[Image(f"{there.host}/team/engine:1.0", digest)])
    first = _fetch(tmp_path / "m", needs)
    assert [(each.fault, each.new) for each in first] == [(None, True)]
    served = len(there.served)
    assert [(each.fault, each.new) for each in _fetch(tmp_path / "m", needs)] == [(None, False)]
    assert len(there.served) == served
    pushed = [*Directory(tmp_path / "m").push(needs, f"{here.host}/llm", f"oci://{here.host}/charts")]
    assert _faults(pushed) == [None]
    target = f"llm/{there.host}/team/engine"
    assert here.manifests[target, "1.0"] == there.manifests["team/engine", "1.0"]
    assert f"sha256:{_sum(here.manifests[target, '1.0'])}" == digest
    assert {name for _, name in here.blobs} == {name for _, name in there.blobs}


def test_a_layout_is_one_that_others_read(there: Registry, tmp_path: Path) -> None:
    digest = there.push_image("team/engine", "1.0", [LAYER])
    _fetch(tmp_path, replace(NOTHING, images=[Image(f"{there.host}/team/engine:1.0", None)]))
    folder = tmp_path / "images"
    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
    assert (entry["digest"], entry["annotations"]["org.opencontainers.image.ref.name"]) == (
        digest,
        f"{there.host}/team/engine:1.0",
    )
    for blob in (folder / "blobs/sha256").iterdir():
        assert blob.name == _sum(blob.read_bytes())


def test_what_breaks_off_goes_on_and_is_not_there_before(there: Registry, tmp_path: Path) -> None:
    there.push_image("team/engine", "1.0", [LAYER])
    needs, digest = replace(NOTHING, images=[Image(f"{there.host}/team/engine:1.0", None)]), f"sha256:{_sum(LAYER)}"
    there.breaks_after[digest] = 100_000
    (broken,) = _fetch(tmp_path, needs)
    assert broken.fault is not None
    assert broken.fault.endswith("run it again where it can be reached")
    assert not (tmp_path / "images/index.json").exists()
    assert not (tmp_path / "images/blobs/sha256" / _sum(LAYER)).exists()
    assert _faults(_fetch(tmp_path, needs)) == [None]
    begun = next(int(each.rpartition(" ")[2]) for each in reversed(there.served) if each.startswith(digest))
    assert 0 < begun <= 100_000


def test_what_is_not_what_its_digest_says_is_not_there(there: Registry, tmp_path: Path) -> None:
    there.push_image("team/engine", "1.0", [LAYER])
    there.blobs["team/engine", f"sha256:{_sum(LAYER)}"] = LAYER[:-1] + b"!"
    wrong = Image(f"{there.host}/team/engine:1.0", f"sha256:{'0' * 64}")
    (unknown,) = _fetch(tmp_path, replace(NOTHING, images=[wrong]))
    assert unknown.fault == f"{there.host} answers 404 for team/engine:sha256:{'0' * 64}"
    (damaged,) = _fetch(tmp_path, replace(NOTHING, images=[Image(wrong.name, None)]))
    assert damaged.fault is not None
    assert damaged.fault.endswith(f"and {_sum(LAYER)} is expected; what was fetched is thrown away")
    assert not [*(tmp_path / "images").rglob(f"{_sum(LAYER)}*")]


def test_no_registry_says_where_files_go(there: Registry, tmp_path: Path) -> None:
    there.push("team/engine", "1.0", "an index")
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{"mediaType": "x", "digest": "sha256:../../../out", "size": 1}],
    }
    there.manifests["team/engine", "1.0"] = json.dumps(index).encode()
    (refused,) = _fetch(tmp_path, replace(NOTHING, images=[Image(f"{there.host}/team/engine:1.0", None)]))
    assert refused.fault == "its registry names a part 'sha256:../../../out', which is no SHA-256"


def test_what_is_damaged_later_is_not_pushed(there: Registry, here: Registry, tmp_path: Path) -> None:
    there.push_image("team/engine", "1.0", [LAYER])
    needs = replace(NOTHING, images=[Image(f"{there.host}/team/engine:1.0", None), Image(f"{there.host}/team/other:1.0", None)])
    _fetch(tmp_path, needs)
    (tmp_path / "images/blobs/sha256" / _sum(LAYER)).write_bytes(b"!" * len(LAYER))
    damaged, missing = Directory(tmp_path).push(needs, here.host, f"oci://{here.host}/charts")
    assert "is damaged and is thrown away; fetch again" in str(damaged.fault)
    assert missing.fault == "it is not in the directory; fetch it first"
    assert not here.manifests


def test_a_registry_that_wants_a_login_gets_it(there: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in gives everybody a token; that the login is asked for it is seen by what it is asked with."""
    there.push_image("team/engine", "1.0", [LAYER])
    file = tmp_path / "auth.json"
    file.write_text(json.dumps({"auths": {there.host: {"auth": "dXNlcjpwYXNz"}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(file))
    needs = replace(NOTHING, images=[Image(f"{there.host}/team/engine:1.0", None)])
    assert _faults(_fetch(tmp_path, needs)) == [None]
    assert there.logins == {"Basic dXNlcjpwYXNz"}


# Charts


def _chart(name: str, version: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in (
            (f"{name}/Chart.yaml", f"apiVersion: v2\nname: {name}\nversion: {version}\n"),
            (f"{name}/values.yaml", ""),
        ):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


def test_charts_of_repositories_and_registries_end_in_one_place(
    there: Registry, here: Registry, web: tuple[str, Path], tmp_path: Path
) -> None:
    url, folder = web
    keda, gateway = _chart("keda", "2.20.2"), _chart("gateway-helm", "v1.9.0")
    (folder / "keda-2.20.2.tgz").write_bytes(keda)
    entry = {"name": "keda", "version": "2.20.2", "urls": ["keda-2.20.2.tgz"], "digest": _sum(keda)}
    (folder / "index.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "entries": {"keda": [entry]}}))
    there.push_chart("envoyproxy/gateway-helm", "v1.9.0", gateway)
    charts = [Chart("keda", "2.20.2", url), Chart("gateway-helm", "v1.9.0", f"oci://{there.host}/envoyproxy")]
    needs = replace(NOTHING, charts=[*charts, Chart("keda", "9.9.9", url)])
    *fetched, unknown = _fetch(tmp_path / "m", needs)
    assert _faults(fetched) == [None, None]
    assert unknown.fault == f"{url}/ has no keda 9.9.9"
    index = yaml.safe_load((tmp_path / "m/charts/index.yaml").read_text())["entries"]
    about = {"apiVersion": "v2", "name": "gateway-helm", "version": "v1.9.0"}
    assert index["gateway-helm"][0] == {**about, "digest": _sum(gateway), "urls": ["gateway-helm-v1.9.0.tgz"]}
    assert [each.new for each in _fetch(tmp_path / "m", replace(NOTHING, charts=charts))] == [False, False]
    pushed = [*Directory(tmp_path / "m").push(replace(NOTHING, charts=charts), here.host, f"oci://{here.host}/charts")]
    assert _faults(pushed) == [None, None]
    manifest = json.loads(here.manifests["charts/keda", "2.20.2"])
    assert manifest["layers"][0]["mediaType"] == "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    assert here.blobs["charts/keda", manifest["layers"][0]["digest"]] == keda
    assert json.loads(here.blobs["charts/keda", manifest["config"]["digest"]])["version"] == "2.20.2"


# Files


def test_files_are_held_to_what_their_makers_say(web: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = web
    (folder / "k3s").write_bytes(LAYER)
    (folder / "other").write_bytes(COMMON)
    (folder / "sums.txt").write_text(f"{_sum(LAYER)}  k3s\n{_sum(LAYER)}  other\n")
    sums = f"{url}/sums.txt"
    files = [File("a/k3s", f"{url}/k3s", sums=sums), File("b/other", f"{url}/other", sums=sums), File("c", f"{url}/gone")]
    (tmp_path / "m/a").mkdir(parents=True)
    (tmp_path / "m/a/k3s.partial").write_bytes(LAYER[:1000])
    good, wrong, gone = _fetch(tmp_path / "m", replace(NOTHING, files=files))
    assert good.fault is None
    assert (tmp_path / "m/a/k3s").read_bytes() == LAYER
    assert "is expected; what was fetched is thrown away" in str(wrong.fault)
    assert gone.fault == "127.0.0.1 answers 404"
    assert not any((tmp_path / "m" / path).exists() for path in ("b/other", "c"))


def test_checksums_in_the_lists_of_makers() -> None:
    sums = f"{'1' * 64}  k3s\n{'2' * 64} *k3s-arm64\n"
    assert (checksum_in(sums, "k3s"), checksum_in(sums, "k3s-arm64")) == ("1" * 64, "2" * 64)
    index = "".join(
        f"Package: {name}\nFilename: ./{name}_1.deb\nSize: 1\nSHA256: {digit * 64}\nMD5sum: 0\n\n"
        for name, digit in (("a", "3"), ("b", "4"))
    )
    assert checksum_in(index, "b_1.deb") == "4" * 64
    with pytest.raises(ValueError, match=r"its maker's list of checksums has no k3s-s390x"):
        checksum_in(sums, "k3s-s390x")


# Models


@pytest.fixture(name="hugging_face")
def hugging_face_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub() as state:
        state.repositories["acme/tiny", REVISION] = {"config.json": b"{}", "model.safetensors": WEIGHTS, "model.py": b"import os"}
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", state.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        template = state.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield state


def test_a_model_goes_from_the_hub_by_the_mirror_to_a_volume(hugging_face: Hub, web: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = web
    model = Model("acme/tiny", REVISION, None)
    (outcome,) = _fetch(folder, replace(NOTHING, models=[model]))
    assert (outcome.fault, outcome.new) == (None, True)
    served = len(hugging_face.served)
    assert [each.new for each in _fetch(folder, replace(NOTHING, models=[model]))] == [False]
    assert len(hugging_face.served) == served
    done = _download(url, tmp_path)
    assert done.returncode == 0, done.stderr
    target = tmp_path / "volume/acme--tiny" / REVISION
    assert (target / "model.safetensors").read_bytes() == WEIGHTS
    assert not (target / "model.py").exists()
    assert len(hugging_face.served) == served
    checksum = (target / "llm-platform-complete").read_text()
    assert f"checksum {checksum}" in done.stdout
    # What was reviewed is what is there, or it is not there.
    assert Directory(folder).models.has(replace(model, checksum=checksum))
    other = replace(model, checksum="0" * 64)
    (refused,) = _fetch(folder, replace(NOTHING, models=[other]))
    assert f"{'0' * 64} is expected: its files are not those that were reviewed" in str(refused.fault)


def test_a_download_from_a_mirror_goes_on_with_what_is_there(hugging_face: Hub, tmp_path: Path) -> None:
    """A beginning that is wrong makes a wrong file, which shows that it was gone on with; then it is fetched anew."""
    _fetch(tmp_path, replace(NOTHING, models=[Model("acme/tiny", REVISION, None)]))
    folder = tmp_path / "models"
    served = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    # The stand-in for the hub is a web server that knows of ranges.
    hugging_face.repositories["acme/mirror", REVISION] = {f"models/{name}": content for name, content in served.items()}
    url = f"{hugging_face.url}/acme/mirror/resolve/{REVISION}"
    target = tmp_path / "volume/acme--tiny" / REVISION
    target.mkdir(parents=True)
    (target / "model.safetensors.partial").write_bytes(b"!" * 1000)
    broken = _download(url, tmp_path)
    assert broken.returncode == 1
    assert "model.safetensors has the checksum" in broken.stderr
    assert not (target / "model.safetensors").exists()
    (target / "model.safetensors.partial").write_bytes(WEIGHTS[:1000])
    assert _download(url, tmp_path).returncode == 0
    assert (target / "model.safetensors").read_bytes() == WEIGHTS


def test_a_mirror_that_lacks_a_model_says_so(web: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = web
    done = _download(url, tmp_path)
    assert done.returncode == 64
    assert done.stderr == (
        f"error: acme/tiny at {REVISION} is not complete in {url}/models/acme--tiny/{REVISION}; "
        "fill the mirror again, and copy it whole\n"
    )
    assert not [*folder.iterdir()]


def test_a_model_the_hub_does_not_have_is_told_in_one_sentence(hugging_face: Hub, tmp_path: Path) -> None:
    (gone,) = _fetch(tmp_path, replace(NOTHING, models=[Model("acme/tiny", "b" * 40, None)]))
    assert gone.fault == f"acme/tiny has no revision {'b' * 40}; use a commit that its page lists"
    assert hugging_face.served == []


def test_a_hub_that_does_not_answer_is_told_in_one_sentence(
    hugging_face: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hugging_face.url.rpartition(":")[0] + ":9")
    (gone,) = _fetch(tmp_path, replace(NOTHING, models=[Model("acme/tiny", REVISION, None)]))
    assert gone.fault is not None
    assert gone.fault.endswith("run it again where the hub can be reached")


def _download(url: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """The program of a download Job, with a mirror in the hub's place."""
    wanted = {"source": "acme/tiny", "revision": REVISION}
    wishes = {
        "to": str(folder / "volume"),
        "from": f"{url}/models",
        "include": [*PATTERNS],
        "exclude": [],
        "repositories": [wanted],
    }
    (folder / "wishes.json").write_text(json.dumps(wishes))
    command = [sys.executable, str(ROOT / "components/storage/scripts/download.py"), str(folder / "wishes.json")]
    return subprocess.run(command, env={"HOME": str(folder)}, capture_output=True, text=True, timeout=60, check=False)


# Packages of Python


def test_packages_are_taken_with_their_hashes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "tiny-1.0-py3-none-any.whl"
    _wheel(wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    for digest, there in ((_sum(wheel.read_bytes()), True), ("0" * 64, False)):
        requirements = tmp_path / "requirements.txt"
        requirements.write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
        (outcome,) = Directory(tmp_path / digest[:4]).fetch(NOTHING, requirements)
        assert (outcome.fault is None) is there
        assert (tmp_path / digest[:4] / "python" / wheel.name).exists() is there


def _wheel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
