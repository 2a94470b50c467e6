"""Dense image tokens and text against open_clip's own CLIP; the checkpoint's names, shapes and faults."""

import json
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tvsl_engines.__main__ import main
from tvsl_engines.audioclip import AudioClip, attend, positions, tokenize
from tvsl_engines.errors import CheckpointError

TABLE = Path(__file__).parents[2] / "tests/data/clip_tokens.json"
PUBLISHED_BYTES = 537_302_068  # of AudioCLIP-Full-Training.pt


def test_the_first_token_is_clips_own(model) -> None:
    x = torch.randn(2, 3, 224, 224)
    visual = model.clip.visual
    body = visual.stem(x)
    for i in (1, 2, 3, 4):
        body = getattr(visual, f"layer{i}")(body)
    dense = attend(visual.attnpool, body)
    torch.testing.assert_close(dense[:, 0], model.clip.encode_image(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dense[:, 1:], model.see(x))


def test_every_token_is_pytorchs_attention(model) -> None:
    """PyTorch's own attention with a query at every position, cells row by row."""
    pool = model.clip.visual.attnpool
    x = torch.randn(1, 512, 7, 7)
    rows = torch.stack([x.mean((2, 3))[0], *(x[0, :, r, c] for r in range(7) for c in range(7))])
    rows = (rows + pool.positional_embedding)[:, None]
    expected, _ = F.multi_head_attention_forward(
        rows, rows, rows, 512, pool.num_heads, None, torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        None, None, False, 0.0, pool.c_proj.weight, pool.c_proj.bias, training=False, use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight)
    torch.testing.assert_close(attend(pool, x)[0], expected[:, 0], rtol=1e-4, atol=1e-5)


def test_positions_of_the_own_grid_are_untouched_and_a_ramp_stays_one(model) -> None:
    pool = model.clip.visual.attnpool
    torch.testing.assert_close(positions(pool, 7, 7)[0], pool.positional_embedding)
    old = pool.positional_embedding.clone()
    pool.positional_embedding.data[1:] = torch.arange(49.0)[:, None] % 7
    wide = positions(pool, 7, 14)[0, 1:, 0].reshape(7, 14)
    pool.positional_embedding.data.copy_(old)
    assert (wide[:, 1:-1].diff(dim=1) > 0).all() and torch.allclose(wide[0], wide[6])


def test_text_is_clips_own(model) -> None:
    tokens = tokenize(["a dog", "a photo of a church bell ringing"])
    expected = model.clip.encode_text(tokens, normalize=True)
    torch.testing.assert_close(model.read(tokens.float()), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.read(tokens[:, :12].float()), expected, rtol=1e-4, atol=1e-5)


def test_the_programs_table_of_spellings_is_clips_own() -> None:
    """What the program's tokeniser is held to (src/model/words.rs), line by line: open_clip's numbers from start to end."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    for text, expected in table.items():
        row = tokenize([text])[0].tolist()
        assert row[: len(expected)] == expected and not any(row[len(expected) :]), text


def test_names_and_shapes_fill_the_published_file() -> None:
    """The tensors of the full model are as many bytes as the published file, less what a zip archive adds to each."""
    with torch.device("meta"):
        tensors = AudioClip.full().published()
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    assert 100 * len(tensors) < PUBLISHED_BYTES - size < 600 * len(tensors)
    clip = ("visual.attnpool.positional_embedding", "transformer.resblocks.11.mlp.c_proj.weight", "logit_scale", "text_projection")
    assert tensors.keys() >= {*clip, "logit_scale_ai", "logit_scale_at", "audio.fbsp.fc", "audio.att5.bn.running_var"}
    assert not any(name.startswith("clip.") for name in tensors)


def refused(model: AudioClip, path: Path, weights: dict) -> str:
    torch.save(weights, path)
    with pytest.raises(CheckpointError) as error:
        model.load_published(path)
    return str(error.value)


def test_a_checkpoint_is_loaded_whole(model, tmp_path: Path) -> None:
    torch.save(model.published(), tmp_path / "good.pt")
    other = AudioClip.small()
    other.load_published(tmp_path / "good.pt")
    for name, value in model.published().items():
        assert torch.equal(other.published()[name], value), name


def test_missing_unexpected_and_misshapen_tensors_are_listed(model, tmp_path: Path) -> None:
    weights = dict(model.published())
    weights["visual.extra"] = weights.pop("audio.fc.weight")
    weights["ln_final.bias"] = torch.zeros(3)
    message = refused(model, tmp_path / "other.pt", weights)
    assert "1 missing: audio.fc.weight" in message and "1 unexpected: visual.extra" in message
    assert "ln_final.bias [3] instead of [64]" in message


def test_another_model_is_refused(model, tmp_path: Path) -> None:
    message = refused(model, tmp_path / "clip.pt", model.clip.state_dict())
    lacking = [name for name in model.published() if name.startswith(("audio.", "logit_scale_a"))]
    assert f"{len(lacking)} missing: audio.att1.bn.bias" in message and all(name in message for name in lacking)


def test_values_that_are_no_numbers_are_refused(model, tmp_path: Path) -> None:
    weights = {**model.published(), "ln_final.bias": torch.full((64,), torch.nan)}
    assert "no numbers in ln_final.bias" in refused(model, tmp_path / "nan.pt", weights)


def test_a_truncated_file_is_refused(model, tmp_path: Path) -> None:
    torch.save(model.published(), tmp_path / "whole.pt")
    data = (tmp_path / "whole.pt").read_bytes()
    for size in (0, 4, 100, len(data) // 2, len(data) - 100, len(data) - 1):
        (tmp_path / "cut.pt").write_bytes(data[:size])
        with pytest.raises(CheckpointError, match="cut.pt: cut short; get the file again"):
            model.load_published(tmp_path / "cut.pt")


def test_a_truncated_file_of_the_older_form_is_refused(model, tmp_path: Path) -> None:
    torch.save(model.published(), tmp_path / "whole.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "whole.pt").read_bytes()
    for size in (1000, len(data) // 2):
        (tmp_path / "cut.pt").write_bytes(data[:size])
        with pytest.raises(CheckpointError, match="cut.pt: .*cut short"):
            model.load_published(tmp_path / "cut.pt")


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path(self.target),))


def test_a_pickle_with_code_is_not_run(model, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bad, trace = Payload(), tmp_path / "ran"
    bad.target = str(trace)
    alone = "is no file of tensors as torch.save writes them"
    raw = lambda value, path: path.write_bytes(pickle.dumps(value))
    for name, save, told in (("zip.pt", torch.save, "holds more than tensors (it calls getattr)"), ("raw.pt", raw, alone),
                             ("text.pt", lambda _, path: path.write_text("weights"), alone)):
        save({"logit_scale": bad}, tmp_path / name)
        assert main(["import-audioclip", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 1
        assert f"{name}: {told}, and is not loaded\n" in capsys.readouterr().err
    assert not trace.exists() and not (tmp_path / "out").exists()


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["import-audioclip", str(tmp_path / "none.pt"), "--out", str(tmp_path / "out")]) == 1
    assert "none.pt: no such file" in capsys.readouterr().err
