"""T-VSL's equations."""

import pytest
import torch
import torch.nn.functional as F

from tvsl_engines.heads import SCALE, Heads, Scale, dials, norm

D = 16


@pytest.fixture
def tensors():
    torch.manual_seed(3)
    return torch.randn(2, 12, D), torch.randn(2, 5, D), norm(torch.randn(4, D))


def test_untrained_heads_are_the_identity(tensors) -> None:
    """Stage 2 spelled out cell by cell, with no learned part."""
    v, a, t = tensors
    maps = Heads(D).localize(v, a, t)
    for b in range(2):
        cells, rows = norm(v[b]), norm(a[b])
        for k in range(4):
            m, weight = norm(cells @ t[k]), norm(rows @ t[k])
            q = norm((weight[:, None] * rows).mean(0))
            torch.testing.assert_close(maps[b, k], m.clamp(min=0) * (cells @ q))


def test_two_classes_have_two_maps(tensors) -> None:
    """Of one row of sound: there the gate alone tells classes apart, and inside the norm identity heads keep nothing of it but its sign."""
    v, a, t = tensors
    likeness = {}
    for gate in ("outside", "inside"):
        maps = Heads(D, gate).localize(v, a[:, :1], t)
        likeness[gate] = F.cosine_similarity(maps[:, 0].abs(), maps[:, 1].abs()).mean().item()
    assert likeness["outside"] < 0.9 and likeness["inside"] == pytest.approx(1.0)


def test_the_gate_inside_is_the_papers(tensors) -> None:
    """Cell by cell, with the learned part that it stands before stirred: inside, it does not pass through unchanged."""
    v, a, t = tensors
    heads = Heads(D, "inside")
    torch.nn.init.constant_(heads.mix["u"].w, 0.6)
    maps = heads.localize(v, a, t)
    for b in range(2):
        cells, rows = norm(v[b]), norm(a[b])
        for k in range(4):
            m, weight = norm(cells @ t[k]), norm(rows @ t[k])
            q = norm((weight[:, None] * rows).mean(0))
            torch.testing.assert_close(maps[b, k], torch.stack([norm(heads.mix["u"](m[p] * cells[p])) @ q for p in range(12)]))


def test_stage_1_wants_both_senses(tensors) -> None:
    v, a, t = tensors
    both = torch.cat([v[:1] * 0 + t[0], v[:1] * 0 + t[0], v[:1] * 0 + t[1]])
    sound = torch.cat([a[:1] * 0 + t[0], a[:1] * 0 + t[1], a[:1] * 0 + t[1]])
    p, p_v, p_a = Heads(D).detect(both, sound, t)
    assert p[0, 0] > p[1, 0] > p[2, 0]
    assert p_v[0, 0] == p_v[1, 0] > p_v[2, 0] and p_a[0, 0] > p_a[1, 0] == p_a[2, 0]


def test_texts_of_every_item_by_itself(tensors) -> None:
    v, a, t = tensors
    own = t[torch.tensor([[0, 1], [2, 3]])]
    maps, shared = Heads(D).localize(v, a, own), Heads(D).localize(v, a, t)
    torch.testing.assert_close(maps[0], shared[0, :2])
    torch.testing.assert_close(maps[1], shared[1, 2:])


def test_every_part_is_learned(tensors) -> None:
    v, a, t = tensors
    heads = Heads(D)
    odds = heads.presence(heads.tokens(v, a), t)
    (heads.localize(v, a, t).sum() + odds.both.sum() + odds.seen.sum() + odds.heard.sum()).backward()
    learned = {name for name, p in heads.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"mix.v.w", "mix.a.w", "mix.av.w", "mix.q.w", "mix.u.w", "both.bias", "seen.direction"} <= learned


def test_dials_are_what_no_layer_is_made_of() -> None:
    heads = Heads(D)
    names = {id(p): name for name, p in heads.named_parameters()}
    found = [names[id(p)] for p in dials(heads)]
    layers = {name for name in names.values() if ".f." in name}
    assert len(found) == len(set(found)) and set(found) == set(names.values()) - layers
    assert {"mix.v.w", "scales.match.log", "both.bias", "both.scale.log", "seen.direction"} <= set(found)


def test_a_scale_keeps_its_limits() -> None:
    one = torch.ones(())
    assert Scale(20.0)(one).item() == pytest.approx(20.0)
    assert Scale(1e6)(one) == SCALE[1] and Scale(1e-3)(one) == SCALE[0]


def test_an_unknown_gate_is_refused() -> None:
    with pytest.raises(ValueError, match="outside or inside"):
        Heads(D, "sideways")
