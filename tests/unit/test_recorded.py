"""What is read from the state of a stack."""

import json
from pathlib import Path

from sandbox import recorded

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:unread"}


def test_a_stack_that_was_never_up_has_nothing(tmp_path: Path) -> None:
    assert recorded.deployment(tmp_path / "local.json") == {}
    assert recorded.outputs({}) == {}
    (tmp_path / "local.json").write_text(json.dumps({"checkpoint": {"stack": "local"}}))
    assert recorded.deployment(tmp_path / "local.json") == {}


def test_no_secret_is_told(tmp_path: Path) -> None:
    stack = {"type": "pulumi:pulumi:Stack", "outputs": {"key": SECRET, "url": "http://a", "all": [{"key": SECRET, "port": 1}]}}
    latest = {"resources": [{"type": "kubernetes:core/v1:Secret", "outputs": {"data": SECRET}}, stack]}
    (tmp_path / "local.json").write_text(json.dumps({"checkpoint": {"latest": latest}}))
    assert recorded.deployment(tmp_path / "local.json") == latest
    assert recorded.outputs(latest) == {"url": "http://a", "all": [{"key": "[secret]", "port": 1}]}
