"""The programs of the download and of the check before a start, run as they are: against a hub and an S3 on loopback."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from components.storage.download_job import PATTERNS
from components.storage.layout import COMPLETE, MANIFEST
from components.storage.scripts import script
from tests.conftest import ROOT
from tests.hugging_face_hub import Hub, hub
from tests.waiting import eventually

SOURCE, REVISION, NEXT = "acme/tiny-7b", "a" * 40, "b" * 40
WEIGHTS = {f"model-0000{part}-of-00002.safetensors": bytes([part]) * 300_000 for part in (1, 2)}
MODEL = {
    "config.json": b'{"model_type": "tiny"}',
    "tokenizer.json": b"{}" * 2000,
    "model.safetensors.index.json": json.dumps({"weight_map": {name: name for name in WEIGHTS}}).encode(),
    "pytorch_model.bin": b"cos\nsystem" * 500,
    "modeling_tiny.py": b"import os",
    "original/consolidated.00.pth": b"P" * 5000,
    "README.md": b"read me",
    **WEIGHTS,
}
FETCHED = {"config.json", "tokenizer.json", "model.safetensors.index.json", *WEIGHTS}
FIRST = "model-00001-of-00002.safetensors"
HOPELESS = 64


@pytest.fixture(name="hugging_face")
def hugging_face_fixture() -> Iterator[Hub]:
    with hub() as state:
        state.repositories[SOURCE, REVISION] = dict(MODEL)
        yield state


VOCABULARY = b"IQ== 0\nIg== 1\n"


def _vocabulary(state: Hub, content: bytes = VOCABULARY) -> dict[str, str]:
    state.repositories["acme/words", REVISION] = {"words.tiktoken": content}
    url = f"{state.url}/acme/words/resolve/{REVISION}/words.tiktoken"
    return {"name": "words.tiktoken", "url": url, "sha256": hashlib.sha256(VOCABULARY).hexdigest()}


@pytest.fixture(name="s3")
def s3_fixture() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Download:
    """Runs of the program with one set of wishes."""

    def __init__(self, folder: Path, state: Hub, s3: str = "") -> None:
        self.folder, self.cache = folder, folder / "models"
        self.cache.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HF_ENDPOINT": state.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
            **({"AWS_ENDPOINT_URL": s3, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"} if s3 else {}),
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def run(
        self,
        revision: str = REVISION,
        source: str = SOURCE,
        adapter: dict[str, Any] | None = None,
        mirror: str | None = None,
        checksum: str | None = None,
        **wishes: Any,
    ) -> "subprocess.CompletedProcess[str]":
        repository = {"source": source, "revision": revision, "adapter": adapter, "checksum": checksum}
        command = self._command([repository], {"from": mirror} | wishes)
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)

    def begin(self) -> "subprocess.Popen[bytes]":
        command = self._command([{"source": SOURCE, "revision": REVISION, "adapter": None}], {})
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _command(self, repositories: list[dict[str, Any]], more: dict[str, Any]) -> list[str]:
        wanted = {"to": str(self.cache), "include": list(PATTERNS), "exclude": [], "repositories": repositories}
        file = self.folder / "wishes.json"
        file.write_text(json.dumps(wanted | more))
        return [sys.executable, str(ROOT / "components/storage/scripts/download.py"), str(file)]

    def directory(self, revision: str = REVISION) -> Path:
        return self.cache / SOURCE.replace("/", "--") / revision

    def token(self, text: str) -> None:
        (self.folder / "token").write_text(text)
        self.environment["HF_TOKEN_PATH"] = str(self.folder / "token")

    def check(self) -> "subprocess.CompletedProcess[str]":
        """The check, as the init container runs it."""
        command = [sys.executable, "-I", "-c", script("check.py"), str(self.directory())]
        return subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(name="download")
def download_fixture(tmp_path: Path, hugging_face: Hub) -> Download:
    return Download(tmp_path, hugging_face)


def _sentence(run: "subprocess.CompletedProcess[str]") -> str:
    assert run.returncode == HOPELESS, run.stderr
    assert run.stderr.count("\n") == 1
    return run.stderr.removeprefix("error: ").strip()


def test_what_is_fetched_is_listed_and_whole_and_not_fetched_again(download: Download, hugging_face: Hub) -> None:
    assert download.check().returncode == 1
    run = download.run()
    assert run.returncode == 0, run.stderr
    there = {str(path.relative_to(download.directory())) for path in download.directory().rglob("*") if path.is_file()}
    assert there == FETCHED | {MANIFEST, COMPLETE}
    files = json.loads((download.directory() / MANIFEST).read_text())["files"]
    assert files == {name: {"size": len(MODEL[name]), "sha256": hashlib.sha256(MODEL[name]).hexdigest()} for name in FETCHED}
    assert download.check().returncode == 0
    asked = len(hugging_face.served)
    assert download.run().returncode == 0
    assert len(hugging_face.served) == asked


def test_a_repository_that_is_not_the_reviewed_one_is_never_there(download: Download, hugging_face: Hub) -> None:
    """The hub declares a checksum of whatever it serves; the settings' own one does not move with it."""
    first = download.run()
    checksum = (download.directory() / COMPLETE).read_text()
    assert f"checksum {checksum}" in first.stdout
    assert download.run(checksum=checksum).returncode == 0

    assert "its files are not those that were reviewed" in _sentence(download.run(checksum="0" * 64))
    shutil.rmtree(download.directory())
    for name in (FIRST, "config.json"):
        hugging_face.repositories[SOURCE, REVISION] = dict(MODEL) | {name: bytes(len(MODEL[name]))}
        assert f"and {checksum} is expected" in _sentence(download.run(checksum=checksum))
        assert not (download.directory() / COMPLETE).exists()
        assert download.check().returncode == 1
        shutil.rmtree(download.directory())
    hugging_face.repositories[SOURCE, REVISION] = dict(MODEL)
    assert download.run(checksum=checksum).returncode == 0


def test_another_revision_leaves_the_old_one_as_it_is(download: Download, hugging_face: Hub) -> None:
    assert download.run().returncode == 0
    hugging_face.repositories[SOURCE, NEXT] = dict(MODEL) | {"config.json": b'{"model_type": "new"}'}
    assert download.run(NEXT).returncode == 0
    assert (download.directory() / "config.json").read_bytes() == MODEL["config.json"]
    assert (download.directory(NEXT) / "config.json").read_bytes() == b'{"model_type": "new"}'
    assert download.check().returncode == 0


def test_an_interrupted_download_goes_on_with_the_file_it_was_at(download: Download, hugging_face: Hub) -> None:
    second = "model-00002-of-00002.safetensors"
    hugging_face.stops_after[second] = 1000
    with download.begin() as pod:
        eventually(lambda: second in hugging_face.served)
        pod.kill()
    assert download.check().returncode == 1
    assert list(download.directory().rglob("*.incomplete"))
    hugging_face.stops_after.clear()
    hugging_face.served.clear()
    run = download.run()
    assert run.returncode == 0, run.stderr
    assert second in hugging_face.served
    assert FIRST not in hugging_face.served
    assert not list(download.directory().rglob("*.incomplete"))
    assert download.check().returncode == 0


def test_a_file_with_another_checksum_is_refused_and_not_kept(download: Download, hugging_face: Hub) -> None:
    hugging_face.declares[FIRST] = "0" * 64
    run = download.run()
    assert run.returncode not in (0, HOPELESS)
    assert f"{FIRST} has the checksum {hashlib.sha256(MODEL[FIRST]).hexdigest()}, and {'0' * 64} is declared" in run.stderr
    assert not (download.directory() / FIRST).exists()
    assert download.check().returncode == 1


def test_pickled_weights_and_programs_are_never_fetched(download: Download, hugging_face: Hub) -> None:
    assert download.run(include=["*"]).returncode == 0
    assert set(hugging_face.served) == FETCHED | {"README.md"}


def test_less_can_be_asked_for(download: Download) -> None:
    assert download.run(exclude=["tokenizer*"]).returncode == 0
    assert not (download.directory() / "tokenizer.json").exists()
    assert download.check().returncode == 0


def test_a_gated_repository_without_a_token_is_one_sentence(download: Download, hugging_face: Hub) -> None:
    hugging_face.gated[SOURCE] = "hf_good"
    assert _sentence(download.run()) == (
        f"{SOURCE} is gated and there is no token; put one into a Secret and name that in tokenSecret, "
        "e.g. tokenSecret: {name: hugging-face, key: token}"
    )
    download.token("hf_other")
    assert _sentence(download.run()).startswith(f"{SOURCE} is gated and the token has no access to it; accept its terms at ")
    download.token("hf_good\n")
    run = download.run()
    assert run.returncode == 0, run.stderr
    assert "hf_good" not in run.stdout + run.stderr


def test_what_no_second_try_can_mend_is_one_sentence(download: Download, hugging_face: Hub) -> None:
    assert _sentence(download.run(NEXT)) == f"{SOURCE} has no revision {NEXT}; use a commit that its page lists"
    assert _sentence(download.run(source="acme/none")).startswith("acme/none is not there, or private")
    hugging_face.repositories[SOURCE, NEXT] = {"config.json": b"{}", "pytorch_model.bin": b"cos\nsystem"}
    assert _sentence(download.run(NEXT)).startswith(f"{SOURCE} has no *.safetensors at {NEXT}")
    hugging_face.repositories[SOURCE, NEXT] = {name: body for name, body in MODEL.items() if name != FIRST}
    assert _sentence(download.run(NEXT)).startswith(f"{SOURCE} at {NEXT} lacks {FIRST}, which its model.safetensors.index.json")
    hugging_face.repositories[SOURCE, NEXT] = {"weights.safetensors": b"w" * 2000}
    assert _sentence(download.run(NEXT)).startswith(f"{SOURCE} at {NEXT} has no config.json")


@pytest.mark.parametrize(
    ("rank", "base", "fault"),
    [
        (16, SOURCE, None),
        (16, "someone/TINY-7b", None),
        (16, "acme/tiny", None),
        (16, "acme/other", "lora.adapters.german: {told} was trained for other, not for tiny-7b"),
        (16, None, "lora.adapters.german: {told} was trained for an unnamed model"),
        (32, SOURCE, "lora.adapters.german.rank: {told} has rank 32, not 16; use rank: 32"),
    ],
)
def test_an_adapter_is_what_the_settings_say(
    download: Download, hugging_face: Hub, rank: int, base: str | None, fault: str | None
) -> None:
    config = json.dumps({"r": rank, "base_model_name_or_path": base}).encode()
    hugging_face.repositories[SOURCE, NEXT] = {"adapter_config.json": config, "adapter_model.safetensors": b"l" * 2000}
    run = download.run(NEXT, adapter={"name": "german", "rank": 16, "bases": [SOURCE]})
    if fault is None:
        assert run.returncode == 0, run.stderr
    else:
        assert _sentence(run).startswith(fault.format(told=f"{SOURCE} at {NEXT}"))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda where: (where / FIRST).unlink(), f"/{FIRST} is missing; delete the directory"),
        (lambda where: (where / FIRST).write_bytes(b"short"), f"/{FIRST} has 5 bytes of 300000; delete the directory"),
        (lambda where: (where / MANIFEST).write_text("{}"), f"/{MANIFEST} is not what the download wrote; delete the directory"),
        (lambda where: (where / COMPLETE).unlink(), " has no finished download; wait for the download Job"),
    ],
)
def test_a_cache_that_is_not_whole_stops_the_start_and_is_mended(download: Download, damage: Any, fault: str) -> None:
    assert download.run().returncode == 0
    damage(download.directory())
    run = download.check()
    assert run.returncode == 1
    assert fault in run.stderr
    assert run.stderr.startswith(f"error: {download.directory()}")
    assert run.stderr.count("\n") == 1
    assert download.run().returncode == 0
    assert download.check().returncode == 0


def test_through_a_bucket_to_a_volume(tmp_path: Path, hugging_face: Hub, s3: str) -> None:
    download = Download(tmp_path, hugging_face, s3)
    client = boto3.client("s3", endpoint_url=s3, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    client.create_bucket(Bucket="company-models")
    bucket = "s3://company-models/hub/qwen"
    hugging_face.repositories[SOURCE, REVISION] |= {"large.safetensors": b"L" * 20_000_000}
    assert _sentence(download.run(mirror=bucket)).startswith(f"{SOURCE} at {REVISION} is not complete in {bucket}")

    # A file that is not what the hub declares never lies in the bucket; the others are not copied a second time.
    hugging_face.declares[FIRST] = "0" * 64
    assert download.run(to=bucket).returncode not in (0, HOPELESS)
    where = f"hub/qwen/{SOURCE.replace('/', '--')}/{REVISION}"
    keys = [item["Key"] for item in client.list_objects_v2(Bucket="company-models").get("Contents", [])]
    assert f"{where}/large.safetensors" in keys
    assert f"{where}/{FIRST}" not in keys
    hugging_face.declares.clear()
    hugging_face.served.clear()
    run = download.run(to=bucket)
    assert run.returncode == 0, run.stderr
    assert "large.safetensors" not in hugging_face.served
    keys = [item["Key"] for item in client.list_objects_v2(Bucket="company-models")["Contents"]]
    assert {key.removeprefix(f"{where}/") for key in keys} == FETCHED | {"large.safetensors", MANIFEST, COMPLETE}
    asked = len(hugging_face.served)

    # From there to a volume, without the hub.
    run = download.run(mirror=bucket)
    assert run.returncode == 0, run.stderr
    assert len(hugging_face.served) == asked
    assert {name: (download.directory() / name).read_bytes() for name in FETCHED} == {name: MODEL[name] for name in FETCHED}
    assert download.check().returncode == 0

    # Who can write to the bucket can make it agree with itself, not with a checksum that is in the settings.
    checksum = (download.directory() / COMPLETE).read_text()
    shutil.rmtree(download.directory())
    assert download.run(mirror=bucket, checksum=checksum).returncode == 0
    shutil.rmtree(download.directory())
    forged = bytes(len(MODEL[FIRST]))
    manifest = json.loads(client.get_object(Bucket="company-models", Key=f"{where}/{MANIFEST}")["Body"].read())
    manifest["files"][FIRST]["sha256"] = hashlib.sha256(forged).hexdigest()
    text = json.dumps(manifest).encode()
    for name, body in {FIRST: forged, MANIFEST: text, COMPLETE: hashlib.sha256(text).hexdigest().encode()}.items():
        client.put_object(Bucket="company-models", Key=f"{where}/{name}", Body=body)
    assert f"and {checksum} is expected" in _sentence(download.run(mirror=bucket, checksum=checksum))
    assert download.check().returncode == 1


def test_a_vocabulary_is_fetched_once_and_only_as_it_should_be(download: Download, hugging_face: Hub) -> None:
    wanted = _vocabulary(hugging_face)
    for _ in range(2):
        assert download.run(vocabularies=[wanted]).returncode == 0
    assert (download.cache / "vocabularies/words.tiktoken").read_bytes() == VOCABULARY
    assert hugging_face.served.count("words.tiktoken") == 1

    (download.cache / "vocabularies/words.tiktoken").unlink()
    failed = download.run(vocabularies=[_vocabulary(hugging_face, b"other words")])
    assert failed.returncode not in (0, HOPELESS)
    assert "has the checksum" in failed.stdout + failed.stderr
    assert not (download.cache / "vocabularies/words.tiktoken").exists()
