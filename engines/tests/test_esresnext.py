"""The audio encoder against the definitions it is made of."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tvsl_engines.esresnext import BANDS, FFT, HOP, RATE, SAMPLES, WINDOW, EsResNeXt, halved


def test_shapes_of_the_published_size() -> None:
    with torch.device("meta"):
        shapes = {name: list(value.shape) for name, value in EsResNeXt().state_dict().items()}
    assert shapes["conv1.weight"] == [64, 3, 7, 7] and shapes["fc.weight"] == [1024, 2048]
    assert shapes["layer1.0.conv2.weight"] == [128, 4, 3, 3] and shapes["layer4.2.conv2.weight"] == [1024, 32, 3, 3]
    assert shapes["att1.conv_depth.weight"] == [64, 1, 3, 1] and shapes["att5.conv_point.weight"] == [2048, 2048, 1, 1]
    assert shapes["window"] == [1654] and shapes["fbsp.m"] == [1025] and shapes["fbsp.bias"] == [0]


def test_a_fresh_filter_bank_is_the_fourier_transform(model) -> None:
    """With m = 0 and fb = 1 filter n is a complex wave of n periods, so a tone peaks in its own row."""
    encoder = EsResNeXt(32, (1, 1, 1, 1), 16)
    tone = torch.sin(2 * math.pi * 6000 * torch.arange(SAMPLES) / RATE)[None] * 20000
    decibels = encoder.decibels(tone)[0].flatten(0, 1)
    assert int(decibels.mean(1).argmax()) == round(6000 / RATE * FFT)


def test_decibels_are_those_of_the_definition(model) -> None:
    """One frame, computed in NumPy with complex numbers."""
    audio = model.audio
    sound = torch.randn(1, WINDOW) * 3000
    m, fb, fc = (getattr(audio.fbsp, n).double().numpy()[:, None] for n in ("m", "fb", "fc"))
    t = np.pi * np.linspace(-1, 1, FFT) + 1e-8
    x = fb * t / (m + 1e-8)
    filters = np.sqrt(fb) * (np.sin(x) / x).astype(complex) ** m * np.exp(-1j * fc * t) / np.sqrt(FFT)
    frame = np.zeros(FFT)
    frame[197:197 + WINDOW] = ((sound[0].numpy() + 32768) * 2 / 65535 - 1) * audio.window.numpy()
    power = np.abs(filters @ frame) ** 2
    expected = 10 * np.log10(power[:1023]).reshape(BANDS, 341)
    np.testing.assert_allclose(audio.decibels(sound)[0, :, :, 0].numpy(), expected, atol=2e-2)


def test_halving_is_adaptive_pooling() -> None:
    for height, width in ((43, 49), (86, 98), (22, 25), (11, 13)):
        x = torch.randn(2, 3, height, width)
        assert torch.equal(halved(x), F.adaptive_max_pool2d(x, (-(-height // 2), -(-width // 2))))


def test_dense_tokens_average_to_the_published_embedding(model) -> None:
    """The published model pools, gates and projects; its linear layer at every position has the same mean."""
    audio = model.audio
    sound = torch.randn(2, SAMPLES) * 3000
    tokens = audio(sound)
    assert tokens.shape == (2, 13 * 11, 32)
    pooled = audio.features(audio.decibels(sound)).mean((2, 3))
    torch.testing.assert_close(tokens.mean(1), audio.fc(pooled), rtol=1e-4, atol=1e-4)


def test_tokens_run_from_old_to_new(model) -> None:
    sound = torch.zeros(1, SAMPLES)
    late = sound.clone()
    late[:, -2 * HOP:] = torch.randn(1, 2 * HOP) * 10000
    before, after = model.audio(sound), model.audio(late)
    changed = (after - before).abs().sum(-1).reshape(13, 11).sum(1)
    assert int(changed.argmax()) >= 11
