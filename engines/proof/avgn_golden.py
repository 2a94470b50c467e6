"""Write tests/data/avgn.safetensors: what AVGN's published code makes of made-up tokens with made-up weights, for our network to agree with.

    git clone https://github.com/stoneMo/AVGN && python proof/avgn_golden.py AVGN      (from engines/)

It wants einops and timm (the golden here: of AVGN's commit 5ab8cab, einops 0.8.2, timm 1.0.31). Weights have the names of AVGN's code. Its
encoder of one sense is built as its model.py does, small, with the assignment soft.
"""

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

CLASSES, WIDTH, DEPTH, SCENES, TOKENS = 5, 16, 2, 2, 7
OUT = Path(__file__).parents[1] / "tests/data/avgn.safetensors"


def network(folder: Path) -> nn.Module:
    """AVGN's own, with weights of chance: where it starts, biases and norms would do nothing."""
    sys.path.insert(0, str(folder))
    from grouping import ModalityTrans

    sized = dict(depth=DEPTH, num_heads=8, mlp_ratio=4.0, qkv_bias=True, drop_path=0.1, out_dim_grouping=WIDTH, num_heads_grouping=8)
    torch.manual_seed(0)
    own = ModalityTrans(WIDTH, **sized, num_group_tokens=CLASSES, num_output_groups=CLASSES, hard_assignment=False, use_han=False)
    for p in own.parameters():
        nn.init.normal_(p, std=0.3)
    return own.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a copy of AVGN's repository")
    own = network(parser.parse_args().folder)
    tokens, x = torch.randn(CLASSES, WIDTH), torch.randn(SCENES, TOKENS, WIDTH)
    with torch.no_grad():
        grouped, _, mixed = own(x, tokens)
    given = {"tokens": tokens, "x": x, "mixed": mixed, "grouped": grouped}
    save_file({name: value.contiguous() for name, value in {**own.state_dict(), **given}.items()}, OUT)


if __name__ == "__main__":
    main()
