"""The model in plain NumPy (float64, no ONNX anywhere): the yardstick that goldens are made with."""

import math

import numpy as np

import ced
import encoders
from graphs import CERTAIN, FAINT
from heads import Heads
from network import Conv


def convolve(x: np.ndarray, layer: Conv) -> np.ndarray:
    """[B,C,H,W] -> [B,O,H/s,W/s] with TensorFlow's SAME padding."""
    before, after = layer.padding
    kernel, stride = layer.weight.shape[-1], layer.stride
    x = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    weight = layer.weight.astype(np.float64)
    if layer.groups == 1:
        y = np.tensordot(windows, weight, axes=([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)
    else:  # depthwise: one filter per channel
        y = np.einsum("bchwij,cij->bchw", windows, weight[:, 0])
    return y + layer.bias.astype(np.float64)[:, None, None]


def run(layers: list[Conv], x: np.ndarray) -> np.ndarray:
    """Apply `layers` one after the other."""
    limits = {"": (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}
    values = [x.astype(np.float64)]
    for layer in layers:
        y = convolve(values[-1], layer)
        if layer.skip:
            y = y + values[-layer.skip]
        values.append(np.clip(y, *limits[layer.activation]))
    return values[-1]


def image(networks: encoders.Encoders, heads: Heads, x: np.ndarray) -> np.ndarray:
    """[B,3,H,W] -> V [B,P,D]."""
    features = run(networks.image.layers, x)
    return embed(heads, features, run(networks.image.classifier, features))


def embed(heads: Heads, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Features [B,1280,h,w] and ImageNet logits [B,1000,h,w] -> V [B,P,D]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    own = np.einsum("nl,blhw->bnhw", heads.labels.astype(np.float64), powers)
    smoothed = _neighbourhood if heads.settings["smooth"] else np.asarray
    share = smoothed(own / powers.sum(axis=1, keepdims=True))
    linear = np.einsum("nc,bchw->bnhw", heads.linear_weight.astype(np.float64), features)
    linear += heads.linear_bias[:, None, None]
    whether = np.concatenate([np.log(share + heads.settings["epsilon"]), smoothed(linear)], axis=1)
    where = np.concatenate([np.log(own + FAINT) + logits.max(axis=1, keepdims=True), linear], axis=1)
    odds = whether * heads.visual[:, 0, None, None] + heads.visual[:, 1, None, None]
    evidence = _by_cell(_sigmoid(np.minimum(odds, heads.settings["ceiling"])))
    place = _by_cell(np.logaddexp(0.0, where + heads.where[:, 1, None, None]) * heads.where[:, 0, None, None])
    return evidence @ heads.dual.astype(np.float64) + place @ heads.place_dual.astype(np.float64) + heads.nothing


def audio(networks: encoders.Encoders, heads: Heads, sound: np.ndarray) -> np.ndarray:
    """[B,176,64] log-mel patches -> A [B,1,D]."""
    labels = listen(networks.audio, sound)
    odds = np.clip(labels[:, heads.heard].max(axis=2), *heads.settings["audible"])
    evidence = _sigmoid(odds * heads.audio[:, 0] + heads.audio[:, 1])
    return (evidence @ heads.dual.astype(np.float64) + heads.nothing)[:, None]


def listen(network: ced.AudioNetwork, sound: np.ndarray) -> np.ndarray:
    """[B,176,64] log-mel patches -> AudioSet logits [B,527]."""
    side, width = ced.TOKEN, ced.WIDTH // ced.HEADS
    cells = (sound.astype(np.float64) * network.gain + network.bias).reshape(len(sound), -1, side, ced.BANDS // side, side)
    tokens = np.einsum("btiej,cji->bcet", cells, network.token[:, 0].astype(np.float64))
    tokens = tokens + network.token_bias[:, None, None] + network.place
    x = tokens.reshape(len(sound), ced.WIDTH, -1).transpose(0, 2, 1)

    def heads(part: ced.Linear, y: np.ndarray) -> np.ndarray:
        return _linear(part, y).reshape(*y.shape[:2], ced.HEADS, width).transpose(0, 2, 1, 3)

    for block in network.blocks:
        y = _layer_norm(block.attention_norm, x)
        query, key, value = (heads(part, y) for part in (block.query, block.key, block.value))
        power = np.exp(query @ key.transpose(0, 1, 3, 2) / np.sqrt(width))
        y = (power / power.sum(axis=-1, keepdims=True) @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = x + _linear(block.joined, y)
        y = _linear(block.widened, _layer_norm(block.perceptron_norm, x))
        x = x + _linear(block.narrowed, y * 0.5 * (1.0 + _erf(y / np.sqrt(2.0))))
    return _linear(network.label, _layer_norm(network.label_norm, _layer_norm(network.norm, x).mean(axis=1)))


def stage1(heads: Heads, v: np.ndarray, a: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """V [B,P,D], A [B,T,D], t [N,D] -> p, p_v, p_a, each [B,N]."""
    joint = heads.settings["joint"]
    seen = _logit((v @ t.T.astype(np.float64)).max(axis=1))
    heard = _logit(a @ t.T.astype(np.float64)).max(axis=1)
    how = heads.settings["elsewhere"]
    alone = heard - how["slope"] * np.maximum(seen + how["seen"], 0.0)
    elsewhere = np.clip(alone.max(axis=1, keepdims=True), how["least"], how["most"])
    both = joint["visual"] * seen + joint["audio"] * heard + joint["elsewhere"] * elsewhere + joint["bias"]
    return _sigmoid(both), _sigmoid(seen), _sigmoid(heard)


def stage2(heads: Heads, v: np.ndarray, a: np.ndarray, t: np.ndarray) -> np.ndarray:
    """V [B,P,D], A [B,T,D], t [K,D] -> H [B,K,P]."""
    t = t.astype(np.float64)
    place, dual, text = (np.vstack([rows, heads.nothing]).astype(np.float64)
                         for rows in (heads.place, heads.dual, heads.text))
    found, a = v @ place.T, _norm(a)
    v, u = _norm(found @ dual), _norm(found @ text)
    m = _norm(np.einsum("kd,bpd->bkp", t, v))
    weight = _norm(np.einsum("kd,btd->bkt", t, a))
    query = _norm(np.einsum("bkt,btd->bkd", weight, a) / a.shape[1])
    agree = np.einsum("bkd,bpd->bkp", query, u)
    return (np.maximum(m, 0.0) * np.maximum(agree, 0.0)) ** heads.settings["map"]["power"]


def golden(networks: encoders.Encoders, heads: Heads, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output for `image` [1,3,H,W], `waveform` [S], `sound` [T,176,64] and `keys` [K]."""
    v, a = image(networks, heads, inputs["image"]), audio(networks, heads, inputs["sound"])
    v, a = v.astype(np.float32), a.astype(np.float32)
    window = a.transpose(1, 0, 2).astype(np.float64)
    p, p_v, p_a = stage1(heads, v.astype(np.float64), window, heads.text)
    h = stage2(heads, v.astype(np.float64), window, heads.text[inputs["keys"]])
    outputs = {"V": v, "A": a, "p": p, "p_v": p_v, "p_a": p_a, "H": h, "log_mel": ced.log_mel(inputs["waveform"])}
    return {name: value.astype(np.float32) for name, value in outputs.items()}


def _neighbourhood(x: np.ndarray) -> np.ndarray:
    """Mean over the cells of the 3 by 3 neighbourhood that exist."""
    def total(y):
        y = np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return np.lib.stride_tricks.sliding_window_view(y, (3, 3), axis=(2, 3)).sum(axis=(4, 5))

    return total(x) / total(np.ones_like(x))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _linear(part: ced.Linear, x: np.ndarray) -> np.ndarray:
    return x @ part.weight.astype(np.float64) + part.bias


def _layer_norm(part: ced.Norm, x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt(np.mean(x ** 2, axis=-1, keepdims=True) + ced.NORM_EPSILON) * part.gain + part.bias


def _by_cell(x: np.ndarray) -> np.ndarray:
    """[B,N,h,w] -> [B,P,N]."""
    return x.reshape(*x.shape[:2], -1).transpose(0, 2, 1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, CERTAIN, 1.0 - CERTAIN)
    return np.log(p / (1.0 - p))


def _norm(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
