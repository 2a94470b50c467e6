"""What a training is fed with: clips, each read to its end before any is mixed, and the features of their scenes."""

import hashlib
import shutil
from pathlib import Path

from tqdm import tqdm

from . import dataset
from .config import Config
from .dataset import Broken, Clip
from .encoders import Encoders
from .features import Features, origin, short
from .processes import Processes

SKIPPED = "skipped.txt"  # in `out`: everything that was left out, a line each


class Supply:
    """The clips of a training that can be used. Raises DataError if too many cannot; every process comes to the same verdict."""

    def __init__(self, config: Config, encoders: Encoders, processes: Processes = Processes()):
        self.config, self.encoders, self.processes = config, encoders, processes
        self.data = dataset.Data(config.data)
        self.listed = dataset.training(config.split, encoders.classes)
        if processes.rank == 0:
            config.out.mkdir(parents=True, exist_ok=True)
            (config.out / SKIPPED).unlink(missing_ok=True)
        broken = self._checked(list(dict.fromkeys(clip for clip, _ in self.listed)))
        self._account(broken)
        self.clips: list[Clip] = [clip for clip in self.listed if clip[0] not in broken.found]
        self._latest: tuple[int, Features] | None = None

    def identity(self) -> dict[str, str]:
        """Short names of the encoders, of the texts and of the data, others for others and for files that were written to."""
        data = [(clip, names, self.data.state(clip)) for clip, names in self.listed]
        return {**origin(self.encoders), "data": self.processes.first(short(data))}

    def features(self, epoch: int = 0) -> Features:
        """The features of an epoch's scenes, encoded as far as they are not yet; those of another epoch go if mixtures are fresh."""
        number = epoch if self.config.fresh else 0
        if self._latest and self._latest[0] == number:
            return self._latest[1]
        scenes = dataset.scenes(self.data, self.clips, self.config.mixtures, self.config.seed, number)
        features = Features(self.config.cache, self.encoders, scenes, self.processes)
        if not self._latest and self.processes.rank == 0:
            print(f"features: {len(scenes)} mixtures of {features.each / 1e6:.2f} MB, {len(scenes) * features.each / 1e9:.2f} GB in {features.folder}")
        self._account(Broken(len(scenes), "mixtures", features.fill()))
        if self._latest and self.processes.rank == 0:
            shutil.rmtree(self._latest[1].folder, ignore_errors=True)
        self._latest = number, features
        return features

    def _checked(self, clips: list[str]) -> Broken:
        """Every clip read once, each process its part; those that could be read are not read again until they are written to."""
        folder = hashlib.sha256(str(self.config.data.resolve()).encode()).hexdigest()[:16]
        path = self.config.cache / f"readable-{folder}.txt"
        read = set(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else set()
        own = clips[self.processes.rank::self.processes.world]
        found, whole = {}, []
        for clip in tqdm(own, "clips", disable=self.processes.rank > 0 or None, leave=False):
            line = f"{self.data.state(clip)} {clip}"
            reason = self.data.missing(clip) or ("" if line in read else self.data.fault(clip))
            if reason:
                found[clip] = reason
            else:
                whole.append(line)
        broken = Broken(len(clips), found={clip: reason for told in self.processes.told(found) for clip, reason in told.items()})
        lines = read.union(*self.processes.told(whole))
        if self.processes.rank == 0:
            _write(path, sorted(lines))
        return broken

    def _account(self, broken: Broken) -> None:
        """List what is left out, on the terminal and whole in a file, and stop if it is too much."""
        if broken.found and self.processes.rank == 0:
            path = self.config.out / SKIPPED
            with path.open("a", encoding="utf-8") as file:
                file.write("\n".join([f"{len(broken.found)} of {broken.total} {broken.what}:", *broken.lines(), ""]))
            print(f"skipped {len(broken.found)} of {broken.total} {broken.what}, listed in {path}:\n{broken}")
        broken.judge()


def _write(path: Path, lines: list[str]) -> None:
    """A text file that is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines), encoding="utf-8")
    fresh.replace(path)
