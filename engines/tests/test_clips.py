"""The scenes of the default model and the clips of the proof: nothing that is fitted to is tested on."""

from pathlib import Path

import pytest

from tvsl_engines.importer import DEFAULT


@pytest.mark.parametrize("twins", [[], [("0a", "1b")], [("0a", "1b"), ("0b", "1a"), ("3", "2")]], ids=["none", "one", "all"])
def test_what_is_fitted_to_is_held_out_of_the_tests_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twins: list) -> None:
    monkeypatch.syspath_prepend(str(DEFAULT / "build"))
    from scenes import COUNTS, split
    from scenes_material import Photo, Sound

    names = ("0a", "0b", "1a", "1b", "2", "3")
    files = {name: tmp_path / f"{name}.wav" for name in names}
    for name, file in files.items():
        file.write_bytes(dict(twins).get(name, name).encode())
    keys = [Sound("keyboard", f"keys/{half}", [files[f"{half}a"], files[f"{half}b"]]) for half in (0, 1)]
    photos = [Photo(files[name], name, {"keyboard": []}) for name in ("2", "3")]
    for items in (split(keys, lambda sound: sound.name), split(photos, lambda photo: "keyboard")):
        sides = {side: {file.read_bytes() for item in own for file in item.files} for side, own in items.items()}
        assert sides.keys() == COUNTS.keys() and sides["fit"] and not sides["fit"] & sides["heldout"]
        everything = {file.read_bytes() for item in (keys if items["fit"][0] in keys else photos) for file in item.files}
        assert sides["fit"] | sides["heldout"] == everything, "nothing else is left out"
        assert all(item.files for own in items.values() for item in own)


def test_tests_draw_on_pictures_whose_things_have_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DEFAULT / "build"))
    from clips import boxed
    from scenes_material import Photo

    known, unknown = [(0.1, 0.2, 0.5, 0.6)], list[tuple[float, float, float, float]]()
    assert boxed(Photo(Path(), "boxed", {"dog": known})) and boxed(Photo(Path(), "cut out", {"dog": unknown}, cut_out=True))
    assert not boxed(Photo(Path(), "whole", {"dog": unknown})) and not boxed(Photo(Path(), "half", {"dog": known, "cat": unknown}))
