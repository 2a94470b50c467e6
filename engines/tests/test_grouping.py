"""AVGN's network over the tokens of a sense: its size, its formulas, what moves its weights, and what it must not look at."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from tvsl_engines.grouping import HEADS, Grouping, Layer
from tvsl_engines.methods import Avgn

N, W, CELLS = 6, 32, 15
RENAMED = (  # AVGN's names to ours, one after the other
    (r"^blocks(\.\d+)\.attn\.qkv\.", r"layers.layers\1.self_attn.in_proj_"), (r"^blocks(\.\d+)\.attn\.proj", r"layers.layers\1.self_attn.out_proj"),
    (r"^blocks(\.\d+)\.mlp\.fc", r"layers.layers\1.linear"), (r"^blocks", "layers.layers"), (r"^grouping\.", ""), ("fc1", "0"), ("fc2", "2"),
    (r"^pre_assign_attn\.attn\.proj", "asked.attention.out_proj"), (r"^pre_assign_attn\.norm2", "asked.between"),
    (r"^pre_assign_attn\.norm_post", "asked.last"), (r"^pre_assign_attn\.mlp", "asked.mlp"), (r"^assign\.proj", "assigned.out"),
    (r"^assign\.([qkv])_proj", r"assigned.\1"), ("^mlp_inter", "among"), ("^mlp_channels", "mlp"), ("^norm_tokens", "named"), ("^norm_x", "given"),
    ("^norm_post_tokens", "told"), ("^norm_new_x", "last"))


@pytest.fixture
def grouping() -> Grouping:
    """As after a training: nothing is where it starts."""
    torch.manual_seed(1)
    grouping = Grouping(N, W)
    for p in grouping.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return grouping.eval()


def test_it_has_as_many_weights_as_avgns_own() -> None:
    """Counted in AVGN's code, its 37 classes of VGGSound-Instruments; a step of the sizes is the same for both senses."""
    assert sum(p.numel() for p in Grouping(37).parameters()) == 15_783_205
    assert sum(p.numel() for p in Avgn(torch.randn(37, 512)).parameters()) == 2 * (15_783_205 + 512 * 512 + 512 + 513) + (512 + 513) * 37 + 1


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """AVGN's weights by our names. Queries, keys and values of the class tokens' attention are apart there."""
    weights = dict(weights)
    for kind in ("weight", "bias"):
        parts = [weights.pop(f"grouping.pre_assign_attn.attn.{part}_proj.{kind}") for part in "qkv"]
        weights[f"asked.attention.in_proj_{kind}"] = torch.cat(parts)
    for before, after in RENAMED:
        weights = {re.sub(before, after, name): value for name, value in weights.items()}
    return weights


@pytest.mark.parametrize("graded", [True, False])
def test_avgns_own_code_gives_the_same_with_the_same_weights(graded: bool) -> None:
    """Weights and tokens of chance, and what the published code made of them: proof/avgn_golden.py wrote them down."""
    golden = load_file(Path(__file__).parent / "data/avgn.safetensors")
    tokens, x, mixed, grouped = (golden.pop(name) for name in ("tokens", "x", "mixed", "grouped"))
    own = Grouping(*tokens.shape, depth=2).eval()
    own.load_state_dict(renamed(golden))
    with torch.set_grad_enabled(graded):
        torch.testing.assert_close(own.mixed(tokens, x)[1], mixed, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(own(tokens, x), grouped, rtol=1e-4, atol=1e-4)


class Plain:
    """The formulas, one scene and one head at a time."""

    def __init__(self, weights: dict[str, Tensor]):
        self.weights = weights

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        scaled = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def mlp(self, first: str, last: str, x: Tensor) -> Tensor:
        return self.linear(last, F.gelu(self.linear(first, x)))

    def attention(self, name: str, query: Tensor, x: Tensor) -> Tensor:
        weight, bias = (self.weights[f"{name}.in_proj_{kind}"].chunk(3) for kind in ("weight", "bias"))
        q, k, v = ((y @ w.T + b).chunk(HEADS, -1) for y, w, b in zip((query, x, x), weight, bias))
        heads = [(qi @ ki.T * qi.shape[-1] ** -0.5).softmax(-1) @ vi for qi, ki, vi in zip(q, k, v)]
        return self.linear(f"{name}.out_proj", torch.cat(heads, -1))

    def layer(self, name: str, x: Tensor) -> Tensor:
        own = self.norm(f"{name}.norm1", x)
        x = x + self.attention(f"{name}.self_attn", own, own)
        return x + self.mlp(f"{name}.linear1", f"{name}.linear2", self.norm(f"{name}.norm2", x))

    def scene(self, tokens: Tensor, x: Tensor) -> Tensor:
        both = torch.cat([x, tokens])
        for i in range(3):
            both = self.layer(f"layers.layers.{i}", both)
        x, classes = self.norm("given", both[:len(x)]), self.norm("named", both[len(x):])
        classes = self.norm("told", self.mlp("among.0", "among.2", classes.T).T)
        classes = classes + self.attention("asked.attention", classes, x)
        classes = self.norm("asked.last", classes + self.mlp("asked.mlp.0", "asked.mlp.2", self.norm("asked.between", classes)))
        share = (self.linear("assigned.q", classes) @ self.linear("assigned.k", x).T * W ** -0.5).softmax(0)
        given = (share / (share.sum(1, keepdim=True) + 1)) @ self.linear("assigned.v", x)
        classes = classes + self.linear("assigned.out", given)
        return classes + self.mlp("mlp.0", "mlp.2", self.norm("last", classes))


@pytest.mark.parametrize("graded", [True, False])
def test_it_follows_the_formulas(grouping: Grouping, graded: bool) -> None:
    """PyTorch's layers take a shorter way where no gradient is asked for."""
    tokens, x = torch.randn(N, W), torch.randn(3, CELLS, W)
    with torch.set_grad_enabled(graded):
        found = grouping(tokens, x)
    plain = Plain(grouping.state_dict())
    torch.testing.assert_close(found, torch.stack([plain.scene(tokens, scene) for scene in x]), rtol=1e-4, atol=1e-4)


def test_all_that_can_learn_does(grouping: Grouping) -> None:
    """But for biases that the next norm, or the softmax over classes, takes back."""
    tokens, x = torch.randn(N, W, requires_grad=True), torch.randn(3, CELLS, W, requires_grad=True)
    (grouping(tokens, x) * torch.randn(N, W)).sum().backward()
    idle = {name for name, p in grouping.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-5}
    assert idle == {"among.2.bias", "assigned.q.bias"}
    assert (tokens.grad.abs().amax(-1) > 1e-5).all() and (x.grad.abs().amax(-1) > 1e-5).all()


def test_a_scene_is_judged_by_itself_and_by_no_order_of_its_tokens() -> None:
    torch.manual_seed(2)
    method = Avgn(torch.randn(N, 24), width=W).eval()
    v, a, present = torch.randn(4, CELLS, 24), torch.randn(4, 5, 24), torch.tensor([[0, 3]] * 4)
    alone, order = slice(1, 2), torch.randperm(CELLS)
    for read in (method.maps, lambda v, a, _: method.presence(v, a)):
        torch.testing.assert_close(read(v, a, present)[alone], read(v[alone], a[alone], present[alone]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(method.maps(v[:, order], a.flip(1), present), method.maps(v, a, present)[..., order], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(method.maps(v, a + torch.randn(24), present), method.maps(v, a, present)), "the sound tells"


def test_a_tenth_of_the_scenes_pass_a_branch_by_in_training_alone() -> None:
    torch.manual_seed(3)
    layer, x = Layer(W), torch.ones(5000, 1, 1)
    for branch in (layer.dropout1, layer.dropout2):
        through = branch(x)
        assert (through == 0).float().mean().item() == pytest.approx(0.1, abs=0.02)
        assert through.max().item() == pytest.approx(1 / 0.9), "the others make up for it"
    layer.eval()
    assert (layer.dropout1(x) == x).all() and (layer.dropout2(x) == x).all()
