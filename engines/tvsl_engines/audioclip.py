"""AudioCLIP: CLIP's ResNet-50 and text transformer (open_clip) with ESResNeXt-fbsp, giving dense tokens."""

from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn

from .checkpoint import load_weights
from .esresnext import EsResNeXt
from .heads import norm

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of pixels in 0–1
STD = (0.26862954, 0.26130258, 0.27577711)
SIDE, STRIDE = 224, 32
CONTEXT = 77  # tokens of a text

tokenize = open_clip.get_tokenizer("RN50")  # list of texts -> [N, CONTEXT]


class AudioClip(nn.Module):
    """The published model: `clip` sees and reads, `audio` hears. Three scales belong to its own training only."""

    def __init__(self, clip: CLIP, audio: EsResNeXt):
        super().__init__()
        self.clip, self.audio = clip, audio
        self.logit_scale_ai = nn.Parameter(torch.tensor(100.0).log())
        self.logit_scale_at = nn.Parameter(torch.tensor(100.0).log())

    @classmethod
    def full(cls) -> "AudioClip":
        """The published sizes, with random weights."""
        return cls.sized(1024, (3, 4, 6, 3), 64, SIDE, CLIPTextCfg(width=512, heads=8, layers=12), EsResNeXt())

    @classmethod
    def small(cls) -> "AudioClip":
        """The same architecture in a size for tests."""
        text = CLIPTextCfg(width=64, heads=2, layers=2)
        return cls.sized(32, (1, 1, 1, 1), 16, SIDE, text, EsResNeXt(32, (1, 1, 1, 1), 16))

    @classmethod
    def sized(cls, dimension: int, layers: tuple[int, ...], width: int, side: int, text: CLIPTextCfg, audio: EsResNeXt) -> "AudioClip":
        vision = CLIPVisionCfg(layers=layers, width=width, head_width=64, image_size=side)
        return cls(CLIP(dimension, vision, text, quick_gelu=True), audio)

    @property
    def dimension(self) -> int:
        return self.audio.fc.out_features

    def published(self) -> dict[str, Tensor]:
        """The weights under the checkpoint's names: CLIP's at the top."""
        return {name.removeprefix("clip."): value for name, value in self.state_dict().items()}

    def load_published(self, path: Path) -> None:
        """Load an official checkpoint. Raises CheckpointError unless its names and shapes are exactly this model's.

        open_clip's `load_checkpoint` wants a whole CLIP in a file; in this one CLIP's names stand among AudioCLIP's.
        """
        weights = load_weights(path, self.published())
        own = [name for name, _ in self.named_children() if name != "clip"]
        top = ("logit_scale_ai", "logit_scale_at", *(f"{name}." for name in own))
        self.load_state_dict({name if name.startswith(top) else f"clip.{name}": value for name, value in weights.items()})

    @property
    def channels(self) -> int:
        """Of the features."""
        return self.clip.visual.attnpool.k_proj.in_features

    def see(self, image: Tensor) -> Tensor:
        """Normalised pictures [B, 3, H, W] -> V [B, P, D], cells row by row."""
        return self.pool(self.trunk(image))

    def trunk(self, image: Tensor) -> Tensor:
        """The convolutions: normalised pictures [B, 3, H, W] -> features [B, C, h, w], computed in the type of their weights."""
        visual = self.clip.visual
        x = visual.stem(image.to(visual.conv1.weight.dtype))
        for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            x = layer(x)
        return x.float()

    def pool(self, features: Tensor) -> Tensor:
        """The attention: features [B, C, h, w] -> V [B, P, D], cells row by row. It holds a softmax, which must stay in float32."""
        return attend(self.clip.visual.attnpool, features)[:, 1:]

    def hear(self, sound: Tensor) -> Tensor:
        """Sound [B, SAMPLES], int16-scaled -> A [B, T, D]."""
        return self.audio(sound)

    def read(self, tokens: Tensor) -> Tensor:
        """Token numbers [N, L], zeros after the end -> unit t [N, D]."""
        longest = torch.cat([tokens, torch.zeros_like(tokens[:, :1]).expand(-1, CONTEXT)], dim=1)[:, :CONTEXT].long()
        clip = self.clip
        x = clip.token_embedding(longest) + clip.positional_embedding
        for block in clip.transformer.resblocks:
            own = block.attn
            q, k, v = F.linear(block.ln_1(x), own.in_proj_weight, own.in_proj_bias).chunk(3, dim=-1)
            x = x + own.out_proj(attention(q, k, v, own.num_heads, clip.attn_mask))
            x = x + block.mlp(block.ln_2(x))
        end = F.one_hot(longest.argmax(dim=1), CONTEXT).to(x.dtype)  # the end token has the highest number
        return norm((end[:, None] @ clip.ln_final(x))[:, 0] @ clip.text_projection)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Scaled dot products of [B, L, C] in `heads` parts."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    likeness = q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)
    weights = (likeness if mask is None else likeness + mask).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def positions(pool: AttentionPool2d, rows: int, columns: int) -> Tensor:
    """[1, 1 + rows·columns, C]: the embedding of the mean token, then those of a grid of any size, bicubically."""
    mean, grid = pool.positional_embedding[:1], pool.positional_embedding[1:]
    side = int(len(grid) ** 0.5)
    grid = F.interpolate(grid.T.reshape(1, -1, side, side), size=(rows, columns), mode="bicubic", align_corners=False)
    return torch.cat([mean[None], grid.flatten(2).transpose(1, 2)], dim=1)


def attend(pool: AttentionPool2d, x: Tensor) -> Tensor:
    """CLIP's attention pool with a query at every position: [B, C, h, w] -> [B, 1 + h·w, D], the pooled one first."""
    grid = x.shape[-2:]
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + positions(pool, *grid)
    return pool.c_proj(attention(pool.q_proj(x), pool.k_proj(x), pool.v_proj(x), pool.num_heads))
