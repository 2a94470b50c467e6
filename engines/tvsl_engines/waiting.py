"""How much of training's time goes by waiting for data."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
MOST = 0.05  # of the time; what is more limits the training


class Waiting:
    """Of the steps of an epoch: what each waited for its batch, and what all of them together did."""

    def __init__(self, clock: Callable[[], float]):
        self.clock = clock
        self.asked = self.got = self.waited = self.taken = 0.0

    def over(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches, each with a note of when it was asked for and when it was there."""
        self.asked = self.clock()
        for batch in batches:
            self.got = self.clock()
            yield batch
            self.asked = self.clock()

    def stepped(self) -> float:
        """The step with the batch at hand is over: the share of it, its batch included, that was waiting."""
        wait, whole = self.got - self.asked, self.clock() - self.asked
        self.waited += wait
        self.taken += whole
        return wait / whole if whole else 0.0

    @property
    def share(self) -> float:
        """Of all steps until now."""
        return self.waited / self.taken if self.taken else 0.0
