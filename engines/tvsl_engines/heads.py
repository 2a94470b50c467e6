"""T-VSL's heads on top of any encoder pair: which classes are heard and seen (stage 1), and where (stage 2)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALE = (1.0, 100.0)  # limits of every learned scale
GATES = ("outside", "inside")  # where a map's gate by the text stands: outside the norm over what it is held against, or inside


def norm(x: Tensor) -> Tensor:
    """Divided by the L2 norm over the last axis, in float32."""
    return F.normalize(x.float(), dim=-1, eps=1e-12)


class Mix(nn.Module):
    """w·x + (1 − w)·f(x) with a learned w that starts at 1: the identity until it is trained."""

    def __init__(self, size: int, hidden: int):
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))
        self.f = nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.w.dtype)
        return (self.w * x + (1 - self.w) * self.f(x)).float()


class Scale(nn.Module):
    """A learned factor within SCALE, learned as its logarithm."""

    def __init__(self, start: float):
        super().__init__()
        self.log = nn.Parameter(torch.tensor(start).log())

    def forward(self, x: Tensor) -> Tensor:
        return self.log.exp().clamp(*SCALE) * x


class Calibration(nn.Module):
    """Similarities [B, N] to log-odds. The bias of a class is linear in its text, so that it exists for any text."""

    def __init__(self, dimension: int, start: float = 10.0):
        super().__init__()
        self.scale = Scale(start)
        self.bias = nn.Parameter(torch.zeros(()))
        self.direction = nn.Parameter(torch.zeros(dimension))

    def forward(self, similarity: Tensor, t: Tensor) -> Tensor:
        return self.scale(similarity) + self.bias + t @ self.direction


def dials(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that no layer is made of: shares of mixes, scales, biases and directions of calibrations."""
    kinds = (Mix, Scale, Calibration)
    return [p for part in module.modules() if isinstance(part, kinds) for p in part.parameters(recurse=False)]


class Tokens(NamedTuple):
    """Dense tokens of both senses after their first mix: v, a [B, D] means; cells, rows: unit vectors [B, P | T, D]."""

    v: Tensor
    cells: Tensor
    a: Tensor
    rows: Tensor


class Presence(NamedTuple):
    """Log-odds [B, N]: heard and seen, seen, heard."""

    both: Tensor
    seen: Tensor
    heard: Tensor


class Sources(NamedTuple):
    """What stage 2 makes of K texts: gate m [B, K, P], pooled picture and sound [B, K, D], unit queries q [B, K, D]."""

    m: Tensor
    picture: Tensor
    sound: Tensor
    q: Tensor


def conditioned(tokens: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Unit tokens [B, P, D] by texts [K, D] or [B, K, D]: m = norm_P(tokens·t) [B, K, P], and mean_P (m ⊙ tokens) [B, K, D]."""
    m = norm(t @ tokens.transpose(1, 2))
    return m, m @ tokens / tokens.shape[1]


class Heads(nn.Module):
    """The learned part of T-VSL over embeddings of `dimension`. `gate`: `outside` as here, `inside` as in the paper."""

    def __init__(self, dimension: int, gate: str = GATES[0]):
        super().__init__()
        if gate not in GATES:
            raise ValueError(f"gate = {gate!r}: expected {' or '.join(GATES)}")
        self.gate = gate
        self.mix = nn.ModuleDict({name: Mix(dimension, 2 * dimension) for name in ("v", "a", "q", "u", "ic", "ac")})
        self.mix["av"] = Mix(2 * dimension, 2 * dimension)
        self.both, self.seen, self.heard = (Calibration(dimension) for _ in range(3))
        self.scales = nn.ModuleDict({name: Scale(1 / 0.07) for name in ("picture", "sound", "match")})

    def tokens(self, v: Tensor, a: Tensor) -> Tokens:
        """V [B, P, D], A [B, T, D] through their first mix."""
        v, a = self.mix["v"](v), self.mix["a"](a)
        return Tokens(v.mean(1), norm(v), a.mean(1), norm(a))

    def presence(self, tokens: Tokens, t: Tensor) -> Presence:
        """Stage 1 for texts t [N, D]. A sense by itself calibrates its best token and passes no gradient on."""
        z = norm(self.mix["av"](torch.cat([norm(tokens.v), norm(tokens.a)], dim=-1)))
        best = lambda x: (x.detach() @ t.T).amax(1)
        return Presence(self.both(z @ norm(torch.cat([t, t], dim=-1)).T, t),
                        self.seen(best(tokens.cells), t), self.heard(best(tokens.rows), t))

    def sources(self, tokens: Tokens, t: Tensor) -> Sources:
        """Stage 2's conditioning for texts t [K, D] or [B, K, D]."""
        m, picture = conditioned(tokens.cells, t)
        _, sound = conditioned(tokens.rows, t)
        return Sources(m, picture, sound, norm(self.mix["q"](sound)))

    def maps(self, tokens: Tokens, sources: Sources) -> Tensor:
        """H [B, K, P]: where each source is; relative."""
        m, cells = sources.m, tokens.cells
        if self.gate == "inside":
            u = norm(self.mix["u"](m[..., None] * cells[:, None]))
            return (u @ sources.q[..., None]).squeeze(-1)
        u = norm(self.mix["u"](cells))
        return m.clamp(min=0) * (sources.q @ u.transpose(1, 2))

    def localize(self, v: Tensor, a: Tensor, t: Tensor) -> Tensor:
        """V [B, P, D], A [B, T, D], t [K, D] or [B, K, D] -> H [B, K, P]."""
        tokens = self.tokens(v, a)
        return self.maps(tokens, self.sources(tokens, t))

    def detect(self, v: Tensor, a: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """V [B, P, D], A [B, T, D], t [N, D] -> p, p_v, p_a, each [B, N]."""
        odds = self.presence(self.tokens(v, a), t)
        return odds.both.sigmoid(), odds.seen.sigmoid(), odds.heard.sigmoid()
