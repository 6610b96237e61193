"""A checkpoint that was cut short gives way to the one before it."""

from pathlib import Path

import pytest

from sandbox.recovery import restore_checkpoint

WHOLE, OLDER = '{"version": 3}', '{"version": 2}'


@pytest.mark.parametrize(
    ("checkpoint", "backup", "left"),
    [
        (WHOLE, OLDER, WHOLE),
        ('{"version": ', OLDER, OLDER),
        ("", OLDER, OLDER),
        ("", None, None),
        ("", '{"ver', None),
        (None, OLDER, None),
    ],
)
def test_the_last_whole_checkpoint_is_used(checkpoint: str | None, backup: str | None, left: str | None, tmp_path: Path) -> None:
    directory = tmp_path / ".pulumi/stacks/project"
    directory.mkdir(parents=True)
    file = directory / "local.json"
    for path, content in ((file, checkpoint), (directory / "local.json.bak", backup)):
        if content is not None:
            path.write_text(content)
    restore_checkpoint(file)
    assert (file.read_text() if file.exists() else None) == left


@pytest.mark.parametrize("name", ["local.json.attrs", "local.json.bak.attrs"])
def test_notes_that_were_cut_short_go_and_whole_ones_stay(name: str, tmp_path: Path) -> None:
    directory = tmp_path / ".pulumi/stacks/project"
    directory.mkdir(parents=True)
    (directory / "local.json").write_text(WHOLE)
    for content, stays in (("", False), ('{"user.content_type": ""}', True)):
        (directory / name).write_text(content)
        restore_checkpoint(directory / "local.json")
        assert (directory / name).exists() is stays
    assert (directory / "local.json").read_text() == WHOLE
