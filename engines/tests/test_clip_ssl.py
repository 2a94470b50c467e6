"""CLIP-SSL over a CLIPSeg of the real architecture with random weights, in a small size."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import material
import numpy as np
import pytest
import torch
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from tvsl_engines import clip_ssl
from tvsl_engines.__main__ import main
from tvsl_engines.choose import choose
from tvsl_engines.clip_ssl import GRID, ClipSegEncoders
from tvsl_engines.config import Config
from tvsl_engines.errors import CheckpointError, TrainingError
from tvsl_engines.features import identity
from tvsl_engines.importer import DEFAULT
from tvsl_engines.train import train


def write(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    size = dict(hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=3)
    config = CLIPSegConfig(text_config=size, vision_config={**size, "image_size": 64, "patch_size": 16}, projection_dim=24,
                           extract_layers=[0, 1, 2], reduce_dim=16, decoder_num_attention_heads=2, decoder_intermediate_size=32)
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clipseg"), 6)


def batch(method, encoders, count: int = 4):
    chance = np.random.default_rng(1)
    x = np.stack([encoders.beside([chance.integers(0, 256, (30, 40, 3), dtype=np.uint8)] * 2)[0] for _ in range(count)])
    torch.manual_seed(2)
    return torch.from_numpy(encoders.see(x)), torch.randn(count, 9, encoders.dimension), torch.zeros(count, 2, dtype=torch.long)


def test_shapes_are_those_of_every_method(clipseg: Path) -> None:
    method, encoders = choose("clip-ssl", DEFAULT, clipseg)
    v, a, present = batch(method, encoders)
    assert v.shape == (4, 3 * (1 + 16), 32)
    maps = method.maps(v, a, present)
    assert maps.shape == (4, 2, GRID * GRID) and (maps >= 0).all() and (maps <= 1).all()
    _, place = encoders.beside([np.zeros((30, 40, 3), np.uint8)])
    assert place.rows * place.columns == GRID * GRID


def test_the_layers_are_those_that_clipseg_decodes(clipseg: Path) -> None:
    method, encoders = choose("clip-ssl", DEFAULT, clipseg)
    x = torch.randn(2, 3, 64, 64)
    q = torch.randn(2, 24)
    with torch.no_grad():
        expected = encoders.model(pixel_values=x, conditional_embeddings=q).logits.sigmoid()
        found = method.masks(torch.from_numpy(encoders.see(x.numpy())), q)
    torch.testing.assert_close(found, expected)


def test_the_sound_chooses_and_one_batch_is_learned_by_heart(clipseg: Path) -> None:
    torch.manual_seed(3)
    method, encoders = choose("clip-ssl", DEFAULT, clipseg)
    v, a, present = batch(method, encoders)
    frozen = {k: v.clone() for k, v in method.decoder.state_dict().items()}
    learned = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=3e-3, weight_decay=0)
    for step in range(150):
        parts = method.losses(v, a, present)
        loss = sum(parts.values())
        first = loss.item() if step == 0 else first
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in learned)
        optimizer.step()
    assert loss.item() < 0.5 * first and parts["match"] < 0.1
    assert all(torch.equal(value, frozen[name]) for name, value in method.decoder.state_dict().items())
    assert not torch.allclose(method.maps(v, a, present), method.maps(v, a.roll(1, 0), present))


def test_pairs_are_decoded_in_pieces_with_the_same_losses_and_gradients(clipseg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """7 pictures with 7 sounds: in one piece, and in pieces of at most 10 pairs."""
    torch.manual_seed(4)
    method, encoders = choose("clip-ssl", DEFAULT, clipseg)
    v, a, present = batch(method, encoders, 7)
    decode, rows = method.decoder.forward, []
    monkeypatch.setattr(method.decoder, "forward", lambda layers, q: rows.append(len(q)) or decode(layers, q))

    def learned(pairs: int) -> tuple[dict, list, list]:
        monkeypatch.setattr(clip_ssl, "PAIRS", pairs)
        rows.clear()
        method.zero_grad()
        parts = method.losses(v, a, present)
        forward = list(rows)
        sum(parts.values()).backward()
        assert sorted(rows) == sorted(2 * forward), "decoded again for the gradient: none was kept"
        return parts, [p.grad.clone() for p in method.parameters() if p.requires_grad], forward

    whole, gradients, one = learned(49)
    pieces, same, several = learned(10)
    assert one == [49] and several == [10] * 4 + [9]
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value)
    torch.testing.assert_close(same, gradients)


def test_it_is_trained_and_judged_like_the_others(clipseg: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = material.folder(tmp_path)
    config = Config(DEFAULT, data, data / "train.txt", tmp_path / "out", tmp_path / "cache", "clip-ssl", clipseg, mixtures=1, epochs=1, batch=4)
    weights = train(config)
    (data / "test.csv").write_text("dog_0,dog,cat_0,cat\n")
    (data / "boxes.json").write_text(json.dumps([{"file": f"{c}_0", "class": c, "bbox": [[0, 0, 1, 1]]} for c in ("dog", "cat")]))
    assert main(["table", "--encoders", str(DEFAULT), "--data", str(data), "--boxes", str(data / "boxes.json"), "--clipseg", str(clipseg),
                 "--test", str(data / "test.csv"), "--weights", f"clip-ssl={weights}"]) == 0
    out = capsys.readouterr().out
    assert "| clip-ssl | " in out and "needs CLIPSeg weights" not in out
    with pytest.raises(TrainingError, match="needs CLIPSeg weights"):
        train(replace(config, clipseg=None))


def test_other_weights_are_other_encoders_and_another_place_is_not(clipseg: Path, tmp_path: Path) -> None:
    own = identity(ClipSegEncoders(DEFAULT, clipseg, 1))
    assert identity(ClipSegEncoders(DEFAULT, shutil.copytree(clipseg, tmp_path / "copy"), 1)) == own
    assert identity(ClipSegEncoders(DEFAULT, write(tmp_path / "copy", 7), 1)) != own


def test_a_folder_without_clipseg_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no CLIPSeg model"):
        choose("clip-ssl", DEFAULT, tmp_path)
