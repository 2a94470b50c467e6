"""The measurement of speed itself."""

import torch

from tvsl_engines.__main__ import main
from tvsl_engines.speed import Products, measure


def test_products_are_noted_with_their_layout() -> None:
    x, y = torch.randn(3, 4), torch.randn(5, 4)
    with Products() as products:
        x @ y.T
        torch.randn(2, 3, 4) @ torch.randn(2, 4, 6)
        torch.nn.functional.linear(x, y, torch.zeros(5))
        x + 1
    shapes = [(a[0], b[0]) for a, b in products.found]
    assert shapes == [((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 6)), ((3, 4), (4, 5))]
    assert products.found[0][1][1] == (1, 4), "the transposed one stays so"


def test_a_step_takes_longer_than_its_products(capsys) -> None:
    found = measure("tvsl-two-stage", batch=8, classes=20, dimension=128)
    assert 0 < found["products"] < found["step"] and found["scenes"] > 0
    assert main(["speed", "--batch", "4", "--classes", "10", "--dimension", "32"]) == 0
    assert "bare products" in capsys.readouterr().out
