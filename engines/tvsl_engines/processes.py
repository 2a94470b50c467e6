"""The processes of one training: who this one is, and what each tells the others. PyTorch's own; torchrun starts them."""

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import torch
from torch import distributed

from .errors import TrainingError

T = TypeVar("T")
PATIENCE = timedelta(days=30)  # encoding may keep one process busy for days; where one dies, torchrun ends the others


@dataclass(frozen=True)
class Processes:
    """This process's number, and how many there are."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls) -> "Processes":
        """Meet the others, if torchrun started this one; each has a GPU of its own, where there are any."""
        world = int(os.environ.get("WORLD_SIZE", 1))
        if world == 1:
            return cls()
        backend = "gloo"
        if torch.cuda.is_available():
            backend = "cpu:gloo,cuda:nccl"
            torch.cuda.set_device(_own_gpu())
        distributed.init_process_group(backend, timeout=PATIENCE)
        return cls(distributed.get_rank(), world)

    def part(self) -> None:
        """The end of what `join` began."""
        if self.world > 1:
            distributed.destroy_process_group()

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")

    def told(self, mine: T) -> list[T]:
        """What every process tells, by rank. None goes on before all have told theirs."""
        if self.world == 1:
            return [mine]
        all_of_them: list[T] = [mine] * self.world
        distributed.all_gather_object(all_of_them, mine)
        return all_of_them

    def first(self, mine: T) -> T:
        """What the first process tells all; what the others hand in does not matter."""
        if self.world == 1:
            return mine
        told = [mine]
        distributed.broadcast_object_list(told, src=0)
        return told[0]

    def share(self, folder: Path) -> None:
        """Raises TrainingError in every process unless all of them see the same `folder`."""
        if self.world == 1:
            return
        mark = folder / f"shared-{self.first(uuid4().hex)}"
        if self.rank == 0:
            mark.touch()
        self.told(None)
        seen = self.told(mark.is_file())
        if self.rank == 0:
            mark.unlink()
        if not all(seen):
            blind = ", ".join(str(rank) for rank, sees in enumerate(seen) if not sees)
            raise TrainingError(f"{folder}: the process of rank {blind} does not see what rank 0 wrote there; every process needs the same "
                                "folder: an absolute path, on several machines on a shared file system")


def _own_gpu() -> int:
    own, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if own >= count:
        raise TrainingError(f"process {own} of this machine has no GPU of its own: there are {count}; lower --nproc-per-node")
    return own
