"""Write a checkpoint with the names and shapes of AudioCLIP-Full-Training.pt and random weights, to measure speed with.

    python proof/audioclip.py FILE      (from engines/)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tvsl_engines.audioclip import AudioClip  # noqa: E402

if __name__ == "__main__":
    torch.manual_seed(0)
    torch.save(AudioClip.full().published(), sys.argv[1])
