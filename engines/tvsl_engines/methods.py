"""The methods of the seed's table over one pair of frozen encoders: losses to train by, maps to judge by."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .grouping import DEPTH, WIDTH, Grouping, start
from .heads import GATES, Heads, Scale, Sources, Tokens, norm


class Method(nn.Module):
    """A method for the texts t [N, D]. V [B, P, D] and A [B, T, D] are dense tokens; `present` [B, K] are class indices."""

    t: Tensor

    def __init__(self, t: Tensor):
        super().__init__()
        self.register_buffer("t", norm(t), persistent=False)

    def losses(self, v: Tensor, a: Tensor, present: Tensor) -> dict[str, Tensor]:
        """The parts of the loss; their sum is minimised."""
        raise NotImplementedError

    def maps(self, v: Tensor, a: Tensor, present: Tensor) -> Tensor:
        """H [B, K, P] of these classes."""
        raise NotImplementedError

    def presence(self, v: Tensor, a: Tensor) -> Tensor:
        """The probability of each class [B, N]; not of methods that know no classes."""
        raise NotImplementedError

    def labels(self, present: Tensor) -> Tensor:
        """[B, N], 1 where a class is present."""
        return torch.zeros(len(present), len(self.t), device=present.device).scatter_(1, present, 1.0)

    def forward(self, v: Tensor, a: Tensor, present: Tensor) -> dict[str, Tensor]:
        return self.losses(v, a, present)


class TwoStage(Method):
    """T-VSL: stage 1 finds the classes, and only those condition stage 2."""

    def __init__(self, t: Tensor, gate: str = GATES[0]):
        super().__init__(t)
        self.heads = Heads(t.shape[1], gate)

    def losses(self, v: Tensor, a: Tensor, present: Tensor) -> dict[str, Tensor]:
        tokens = self.heads.tokens(v, a)
        odds, labels = self.heads.presence(tokens, self.t), self.labels(present)
        sources = self.heads.sources(tokens, self.t[present])
        return {
            "multilabel": F.binary_cross_entropy_with_logits(odds.both, labels),
            "calibration": F.binary_cross_entropy_with_logits(odds.seen, labels) + F.binary_cross_entropy_with_logits(odds.heard, labels),
            "visual": self._class(sources.picture, "ic", "picture", present),
            "audio": self._class(sources.sound, "ac", "sound", present),
            "correspondence": match(self.heads.mix["u"](sources.picture), sources.q, self.heads.scales["match"], present),
        }

    def _class(self, pooled: Tensor, mix: str, scale: str, present: Tensor) -> Tensor:
        """Cross entropy over all classes, of the pooled tokens of each source."""
        odds = self.heads.scales[scale](norm(self.heads.mix[mix](pooled)) @ self.t.T)
        return F.cross_entropy(odds.flatten(0, 1), present.flatten())

    def maps(self, v: Tensor, a: Tensor, present: Tensor) -> Tensor:
        return self.heads.localize(v, a, self.t[present])

    def presence(self, v: Tensor, a: Tensor) -> Tensor:
        return self.heads.detect(v, a, self.t)[0]


class OneStage(Method):
    """T-VSL without stage 1: all N texts condition both senses, and the maps are read directly."""

    def __init__(self, t: Tensor, gate: str = GATES[0]):
        super().__init__(t)
        self.heads = Heads(t.shape[1], gate)
        del self.heads.both, self.heads.mix["av"], self.heads.scales["picture"], self.heads.scales["sound"]  # stage 1's

    def _all(self, v: Tensor, a: Tensor) -> tuple[Tokens, Sources, Tensor, Tensor]:
        tokens = self.heads.tokens(v, a)
        sources = self.heads.sources(tokens, self.t)
        likeness = lambda mix, pooled: (norm(self.heads.mix[mix](pooled)) * self.t).sum(-1)
        seen = self.heads.seen(likeness("ic", sources.picture), self.t)
        return tokens, sources, seen, self.heads.heard(likeness("ac", sources.sound), self.t)

    def losses(self, v: Tensor, a: Tensor, present: Tensor) -> dict[str, Tensor]:
        _, sources, seen, heard = self._all(v, a)
        labels = self.labels(present)
        picture = self.heads.mix["u"](taken(sources.picture, present))
        return {
            "visual": F.binary_cross_entropy_with_logits(seen, labels),
            "audio": F.binary_cross_entropy_with_logits(heard, labels),
            "correspondence": match(picture, taken(sources.q, present), self.heads.scales["match"], present),
        }

    def maps(self, v: Tensor, a: Tensor, present: Tensor) -> Tensor:
        tokens, sources, *_ = self._all(v, a)
        return taken(self.heads.maps(tokens, sources), present)

    def presence(self, v: Tensor, a: Tensor) -> Tensor:
        _, _, seen, heard = self._all(v, a)
        return (seen.sigmoid() * heard.sigmoid()).sqrt()


class Avgn(Method):
    """AVGN: learned class tokens, the same for both senses, group the tokens of each; texts play no part. A token has `width` numbers, and
    the sound of a source is held against cells as they are before any layer mixes them."""

    def __init__(self, t: Tensor, width: int = WIDTH, depth: int = DEPTH):
        super().__init__(t)
        classes, dimension = t.shape
        self.tokens = nn.Parameter(torch.zeros(classes, width))
        self.cells, self.rows = nn.Linear(dimension, width), nn.Linear(dimension, width)
        self.seen, self.heard = Grouping(classes, width, depth), Grouping(classes, width, depth)
        self.see, self.hear, self.tell = nn.Linear(width, 1), nn.Linear(width, 1), nn.Linear(width, classes)
        self.apply(start)
        self.scale = Scale(1 / 0.07)

    def _grouped(self, v: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit cells [B, P, W], and what each class has of the picture and of the sound [B, N, W]."""
        cells, rows = norm(self.cells(norm(v))), norm(self.rows(norm(a)))
        return cells, self.seen(self.tokens, cells), self.heard(self.tokens, rows)

    def losses(self, v: Tensor, a: Tensor, present: Tensor) -> dict[str, Tensor]:
        (cells, picture, sound), labels = self._grouped(v, a), self.labels(present)
        return {
            "tokens": F.cross_entropy(self.tell(self.tokens), torch.arange(len(self.t), device=v.device)),
            "visual": F.binary_cross_entropy_with_logits(self.see(picture).squeeze(-1), labels),
            "audio": F.binary_cross_entropy_with_logits(self.hear(sound).squeeze(-1), labels),
            "correspondence": pointed(taken(sound, present), cells, self.scale, present),
        }

    def maps(self, v: Tensor, a: Tensor, present: Tensor) -> Tensor:
        cells, _, sound = self._grouped(v, a)
        return norm(taken(sound, present)) @ cells.transpose(1, 2)

    def presence(self, v: Tensor, a: Tensor) -> Tensor:
        _, picture, sound = self._grouped(v, a)
        return (self.see(picture).sigmoid() * self.hear(sound).sigmoid()).sqrt().squeeze(-1)


def taken(x: Tensor, present: Tensor) -> Tensor:
    """[B, N, …] at the classes [B, K] -> [B, K, …]."""
    return x[torch.arange(len(x), device=x.device)[:, None], present]


def match(x: Tensor, y: Tensor, scale: nn.Module, present: Tensor) -> Tensor:
    """Symmetric InfoNCE over all sources of the batch, [B, K, D] against [B, K, D]; others of one's class are left out."""
    odds = scale(norm(x).flatten(0, 1) @ norm(y).flatten(0, 1).T)
    own, name = torch.arange(len(odds), device=odds.device), present.flatten()
    twins = name[:, None] == name
    return (told(odds, own, twins) + told(odds.T, own, twins)) / 2


def pointed(sound: Tensor, cells: Tensor, scale: nn.Module, present: Tensor) -> Tensor:
    """Symmetric InfoNCE of every source's sound [B, K, D] and the best cell for it in every picture [B, P, D]. A picture is as right as
    a source's own if it shows the class too, and so is the sound of its other source: where one is asked for, the rest are left out.
    Both ways add up, as in AVGN's code: half of it would weigh less beside the other losses."""
    odds = scale((norm(sound).flatten(0, 1) @ norm(cells).transpose(1, 2)).amax(-1).T)
    shown = (present.flatten()[:, None, None] == present).any(-1)
    own = torch.arange(len(odds), device=odds.device)
    picture = own // present.shape[1]
    return told(odds, picture, shown) + told(odds.T[picture], own, shown.T[picture])


def told(odds: Tensor, right: Tensor, alike: Tensor) -> Tensor:
    """Cross entropy of the right column of every row of the odds, against the columns that are not alike to it."""
    others = alike.scatter(1, right[:, None], False)
    return F.cross_entropy(odds.masked_fill(others, -torch.inf), right)


METHODS = {"tvsl-two-stage": TwoStage, "tvsl-one-stage": OneStage, "avgn": Avgn}  # over the encoders of any model folder
GATED = ("tvsl-two-stage", "tvsl-one-stage")  # whose maps have a gate
