"""AVGN's network over the tokens of one sense: class tokens are mixed with them, then gather what belongs to each.

Its parts, their order, their sizes and where they start are those of AVGN's code with the arguments of its README; the assignment is soft.
"""

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

WIDTH, DEPTH = 512, 3  # numbers of a token, whatever the encoders give; transformer layers of each sense before the grouping
HEADS, RATIO = 8, 4  # of attention; hidden units of an MLP over a token, for each number of it
LEFT_OUT = 0.1  # share of scenes that a branch of a transformer layer leaves as they are, in training
SPREAD = 0.02  # of weights at the start


def start(module: nn.Module) -> None:
    """Where AVGN's layers start: weights from a truncated normal distribution, biases at 0."""
    if isinstance(module, nn.MultiheadAttention):
        nn.init.trunc_normal_(module.in_proj_weight, std=SPREAD)
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=SPREAD)
        nn.init.zeros_(module.bias)


def mlp(size: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))


class Layer(nn.TransformerEncoderLayer):
    """A transformer layer, its norms first, with stochastic depth by scene in place of dropout."""

    def __init__(self, width: int):
        super().__init__(width, HEADS, RATIO * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.dropout1, self.dropout2 = (StochasticDepth(LEFT_OUT, "row") for _ in range(2))  # all that either branch ends with


class CrossAttention(nn.Module):
    """Class tokens [B, N, W] attend to the tokens x [B, L, W] of a sense, and go through an MLP; the norm comes last."""

    def __init__(self, width: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.between, self.mlp, self.last = nn.LayerNorm(width), mlp(width, RATIO * width), nn.LayerNorm(width)

    def forward(self, classes: Tensor, x: Tensor) -> Tensor:
        classes = classes + self.attention(classes, x, x, need_weights=False)[0]
        return self.last(classes + self.mlp(self.between(classes)))


class Assignment(nn.Module):
    """The tokens of a sense are shared out among the classes, by a softmax over the classes at every token, in one head."""

    def __init__(self, width: int):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, classes: Tensor, x: Tensor) -> Tensor:
        """Class tokens [B, N, W], x [B, L, W] -> what each class was given, [B, N, W]: a mean, but less of it for one that was given
        less than a token in all."""
        likeness = self.q(classes) @ self.k(x).transpose(1, 2) * x.shape[-1] ** -0.5
        share = likeness.float().softmax(dim=1)
        share = share / (share.sum(-1, keepdim=True) + 1)
        return self.out(share.to(x.dtype) @ self.v(x))


class Grouping(nn.Module):
    """One sense of AVGN for N classes. Tokens have no places: where a cell lies in a picture, or when a row sounded, plays no part."""

    def __init__(self, classes: int, width: int = WIDTH, depth: int = DEPTH):
        super().__init__()
        self.layers = nn.TransformerEncoder(Layer(width), depth, enable_nested_tensor=False)
        self.named, self.given = nn.LayerNorm(width), nn.LayerNorm(width)
        self.among, self.told = mlp(classes, width // 2), nn.LayerNorm(width)
        self.asked, self.assigned = CrossAttention(width), Assignment(width)
        self.last, self.mlp = nn.LayerNorm(width), mlp(width, RATIO * width)

    def mixed(self, tokens: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class tokens [N, W] and x [B, L, W], each after it attended to all of both: [B, N, W] and [B, L, W]."""
        both = self.layers(torch.cat([x, tokens.expand(len(x), -1, -1)], dim=1))
        return both[:, x.shape[1]:], both[:, :x.shape[1]]

    def forward(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Class tokens [N, W], x [B, L, W] -> what each class has of a scene, [B, N, W]."""
        classes, x = self.mixed(tokens, x)
        classes, x = self.named(classes), self.given(x)
        classes = self.told(self.among(classes.transpose(1, 2)).transpose(1, 2))
        classes = self.asked(classes, x)
        classes = classes + self.assigned(classes, x)
        return classes + self.mlp(self.last(classes))
