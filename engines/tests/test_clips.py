"""The clips of the proof: nothing that is trained on is tested on."""

from pathlib import Path

import pytest

from tvsl_engines.importer import DEFAULT


def test_a_file_for_training_and_for_the_tests_alike_stops_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DEFAULT / "build"))
    from clips import apart

    files = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    for file, content in zip(files, (b"one", b"another", b"one")):
        file.write_bytes(content)
    apart({"fit": files[:1], "heldout": files[1:2]})
    with pytest.raises(SystemExit, match="a.wav and .*c.wav"):
        apart({"fit": files[:1], "heldout": files[1:]})
