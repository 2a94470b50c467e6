"""Every method: shapes, gradients, and one batch learned by heart."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch

from tvsl_engines.config import Config
from tvsl_engines.heads import norm
from tvsl_engines.methods import METHODS, Avgn, Scale, match, pointed
from tvsl_engines.work import groups

N, D, ROWS, COLUMNS = 6, 24, 3, 6
SMALL = {**METHODS, "avgn": partial(Avgn, width=32)}  # its own width has 32 million weights


def batch(count: int = 8):
    """Two classes side by side; each has a pattern of its own in its half and in the sound, unlike its text."""
    torch.manual_seed(0)
    t, seen, heard = norm(torch.randn(N, D)), torch.randn(N, D), torch.randn(N, D)
    present = torch.stack([torch.randperm(N)[:2] for _ in range(count)])
    v = torch.randn(count, ROWS, COLUMNS, D) * 0.3
    v[:, :, :2] += seen[present[:, 0]][:, None, None]
    v[:, :, 4:] += seen[present[:, 1]][:, None, None]
    a = torch.randn(count, 5, D) * 0.3
    a[:, :2] += heard[present[:, 0]][:, None]
    a[:, 3:] += heard[present[:, 1]][:, None]
    return t, v.flatten(1, 2), a, present


@pytest.mark.parametrize("name", METHODS)
def test_shapes(name: str) -> None:
    t, v, a, present = batch()
    method = SMALL[name](t)
    assert method.maps(v, a, present).shape == (8, 2, ROWS * COLUMNS)
    p = method.presence(v, a)
    assert p.shape == (8, N) and (p >= 0).all() and (p <= 1).all()
    assert all(x.shape == () for x in method.losses(v, a, present).values())


@pytest.mark.parametrize("name", METHODS)
def test_one_batch_is_learned_by_heart(name: str) -> None:
    t, v, a, present = batch()
    torch.manual_seed(1)
    method = SMALL[name](t)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3, weight_decay=0)
    for step in range(300):
        loss = sum(method.losses(v, a, present).values())
        first = loss.item() if step == 0 else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.35 * first
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    found = method.eval().presence(v, a).topk(2).indices.sort().values
    assert (found == present.sort().values).all()


def test_dials_with_a_rate_of_their_own_let_heads_leave_the_identity() -> None:
    """The optimizer of training itself: mixes whose share learns as slowly as a layer's weights stay where they start."""
    t, v, a, present = batch(16)
    reached = {}
    for rate in (1e-4, 1e-2):
        torch.manual_seed(1)
        method = METHODS["tvsl-two-stage"](t)
        config = Config(*[Path()] * 4, rate=1e-4, dial_rate=rate)
        optimizer = torch.optim.AdamW(groups(config, method))
        assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(method.parameters()))
        for _ in range(90):
            optimizer.zero_grad()
            loss = sum(method.losses(v, a, present).values())
            loss.backward()
            optimizer.step()
        reached[rate] = loss.item(), method.heads.mix["v"].w.item()
    assert reached[1e-4][1] > 0.95 and reached[1e-2][1] < 0.8 and reached[1e-2][0] < 0.7 * reached[1e-4][0]


@pytest.mark.parametrize("name", ["tvsl-two-stage", "tvsl-one-stage"])
def test_a_map_asks_for_its_class_by_text(name: str) -> None:
    t, v, a, present = batch()
    torch.manual_seed(1)
    method = METHODS[name](t)
    there, back = method.maps(v, a, present), method.maps(v, a, present.flip(1))
    torch.testing.assert_close(there, back.flip(1))


def test_matching_pairs_cost_least() -> None:
    x = torch.eye(6)[None]
    scale = Scale(20.0)
    each, one = torch.arange(6)[None], torch.zeros(1, 6, dtype=torch.long)
    assert match(x, x, scale, each) < 0.01 < 1 < match(x, x.roll(1, 1), scale, each)
    assert match(x, x.roll(1, 1), scale, one) == 0, "nothing to be told from"


def test_a_map_that_points_at_its_own_picture_costs_least() -> None:
    """Two sources in each of three pictures, a cell for each and one of nothing."""
    x = torch.eye(7)
    sound, scale, each = x[:6].unflatten(0, (3, 2)), Scale(20.0), torch.arange(6).unflatten(0, (3, 2))
    cells = torch.cat([sound, x[6].expand(3, 1, 7)], dim=1).requires_grad_()
    own = pointed(sound, cells, scale, each)
    assert own < 0.01 < 1 < pointed(sound, cells.roll(1, 0), scale, each)
    half = torch.cat([cells[:, :1], cells[:, 1:2].roll(1, 0), cells[:, 2:]], dim=1)
    assert own < pointed(sound, half, scale, each) < pointed(sound, cells.roll(1, 0), scale, each), "each source counts for itself"
    own.backward()
    assert cells.grad is not None and cells.grad.isfinite().all()
    alike = pointed(torch.ones(3, 2, 7), torch.ones(3, 4, 7), scale, each)
    assert alike.item() == pytest.approx(math.log(3) + math.log(5)), "a picture of three, and a sound of its own and four of the others"


def test_a_picture_that_shows_a_class_too_is_no_wrong_answer_for_its_sound() -> None:
    sound, scale = torch.eye(6).unflatten(0, (3, 2)), Scale(20.0)
    alike = torch.tensor([[0, 1], [1, 0], [0, 1]])
    assert pointed(sound, sound.roll(1, 0), scale, alike) == 0, "nothing to be told from"
    some = torch.tensor([[0, 1], [0, 2], [3, 4]])
    assert pointed(sound, sound[[1, 0, 2]], scale, some) > 0.5, "the other source of each is in the wrong picture"
    both = torch.cat([sound, sound[[1, 0, 2], :1]], dim=1)
    assert pointed(sound, both, scale, some) < 0.01
