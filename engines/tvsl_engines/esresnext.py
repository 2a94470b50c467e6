"""ESResNeXt-fbsp, AudioCLIP's audio encoder: sound to dense tokens. Parameter names and shapes are the checkpoint's."""

import math

import torch
import torch.nn.functional as F
from scipy.signal import get_window
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

RATE, SAMPLES = 44_100, 220_500
FFT, HOP, WINDOW = 2048, 561, 1654
BANDS = 3  # stretches of the spectrum, as channels
FLOOR = 1e-18  # stands for a power of 0


class Fbsp(nn.Module):
    """Learned complex frequency-B-spline wavelets, one per row of the spectrum."""

    def __init__(self, rows: int):
        super().__init__()
        self.m = nn.Parameter(torch.zeros(rows))
        self.fb = nn.Parameter(torch.ones(rows))
        self.fc = nn.Parameter(torch.arange(rows, dtype=torch.float32))
        self.bias = nn.Parameter(torch.empty(0))  # the published model keeps an empty one

    def filters(self) -> Tensor:
        """[2, rows, FFT]: real and imaginary filter taps."""
        tiny = 1e-8
        t = math.pi * torch.linspace(-1, 1, FFT, device=self.m.device) + tiny
        m, fb, fc = (p[:, None] for p in (self.m, self.fb, self.fc))
        x = fb * t / (m + tiny)
        window = torch.where(x == 0, torch.ones_like(x), torch.sin(x) / x)
        size = fb.sqrt() * window.abs() ** m / math.sqrt(FFT)
        turn = torch.where(window < 0, m * math.pi, torch.zeros_like(x)) - fc * t
        return torch.stack([size * turn.cos(), size * turn.sin()])


class Attention(nn.Module):
    """A gate in 0–1 for the features after a stage, from those before it."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv_depth = nn.Conv2d(inputs, inputs, kernel, padding=padding, groups=inputs)
        self.conv_point = nn.Conv2d(inputs, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv_point(self.conv_depth(x))).sigmoid()


def halved(x: Tensor) -> Tensor:
    """Adaptive max pooling of [B, C, H, W] to half its size, rounded up, with windows that every runtime knows."""
    odd = [int(side) % 2 for side in x.shape[-2:]]
    return F.max_pool2d(x, [2 + o for o in odd], stride=2, padding=odd)


class EsResNeXt(nn.Module):
    """Sound [B, SAMPLES], int16-scaled -> dense tokens [B, T, D], oldest first, the bands of one time together."""

    window: Tensor
    folded: Tensor | None  # the filters as constants, in a graph
    layer1: nn.Sequential
    att1: Attention

    def __init__(self, dimension: int = 1024, blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 64):
        super().__init__()
        self.register_buffer("window", torch.from_numpy(get_window("blackmanharris", WINDOW)).float())
        self.register_buffer("folded", None, persistent=False)
        self.fbsp = Fbsp(FFT // 2 + 1)
        self.conv1 = nn.Conv2d(BANDS, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        before, kernels = width, [(3, 1), (1, 5), (3, 1), (1, 5)]
        for i, (count, kernel) in enumerate(zip(blocks, kernels), start=1):
            planes = width * 2 ** (i - 1)
            self.add_module(f"layer{i}", _stage(before, planes, count, 1 if i == 1 else 2, base=width))
            self.add_module(f"att{i}", Attention(before, 4 * planes, kernel))
            before = 4 * planes
        self.att5 = Attention(before, before, (3, 5))
        self.fc = nn.Linear(before, dimension)

    def taps(self) -> Tensor:
        """[2 · rows, 1, WINDOW]: the windowed filters, real ones first, as many rows as BANDS divides."""
        left = (FFT - WINDOW) // 2
        taps = self.fbsp.filters()[:, :, left:left + WINDOW] * self.window
        return taps[:, :taps.shape[1] // BANDS * BANDS].reshape(-1, 1, WINDOW)

    def fold(self) -> None:
        """Make the filters constants, for a graph."""
        self.folded = self.taps().detach()

    def decibels(self, sound: Tensor) -> Tensor:
        """[B, S] -> [B, BANDS, rows, frames] in dB. Never in float16, which the power of int16 overflows."""
        sound = (sound + 32768.0) * (2 / 65535) - 1.0
        length = int(sound.shape[-1])
        steps = max(0, math.ceil((length - WINDOW) / HOP))
        missing = max(0, steps * HOP + WINDOW - length)
        sound = F.pad(sound, (missing // 2, missing - missing // 2))
        taps = self.taps() if self.folded is None else self.folded
        real, imaginary = F.conv1d(sound[:, None], taps, stride=HOP).chunk(2, dim=1)
        power = (real.square() + imaginary.square()).unflatten(1, (BANDS, -1))
        power = torch.where(power > 0, power, torch.full_like(power, FLOOR))
        return 10.0 * torch.log10(power)

    def features(self, decibels: Tensor) -> Tensor:
        """[B, BANDS, rows, frames] -> [B, C, rows / 32, frames / 32], gated."""
        x = F.relu(self.bn1(self.conv1(decibels)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer1(x) * self.att1(x)
        for i in (2, 3, 4):
            x = getattr(self, f"layer{i}")(x) * getattr(self, f"att{i}")(halved(x))
        return x * self.att5(x.amax((2, 3), keepdim=True))

    def forward(self, sound: Tensor) -> Tensor:
        x = self.features(self.decibels(sound))
        return self.fc(x.permute(0, 3, 2, 1).flatten(1, 2))


def _stage(inputs: int, planes: int, count: int, stride: int, base: int) -> nn.Sequential:
    """A stage of ResNeXt 32×4d blocks."""
    outputs = 4 * planes
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    groups = dict(groups=base // 2, base_width=256 // base)
    first = Bottleneck(inputs, planes, stride, shortcut, **groups)
    return nn.Sequential(first, *(Bottleneck(outputs, planes, **groups) for _ in range(count - 1)))
