"""The program and Python on the same model folders and scenes: the default model's, and one that Python wrote.

`make test-engines` builds the program and names it in TVSL; without that a build in target/ is taken, if there is one.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import material
import numpy as np
import pytest
import soundfile
import torch
from PIL import ExifTags, Image

from tvsl_engines import importer, manifest, picture
from tvsl_engines.__main__ import main
from tvsl_engines.audioclip import AudioClip
from tvsl_engines.dataset import labelled
from tvsl_engines.evaluate import by_program
from tvsl_engines.importer import DEFAULT
from tvsl_engines.table import figures

REPOSITORY = DEFAULT.parents[1]
NAMES = {"all AP": "cap", "all IoU@0.3": "iou_at_30", "all IoU@0.5": "iou_at_50", "all AUC": "auc",
         "single AP": "single_ap", "single IoU@0.5": "single_iou_at_50", "single AUC": "single_auc",
         "duet CAP": "duet_cap", "duet PIAP": "duet_piap", "duet CIoU@0.3": "duet_ciou_at_30",
         "duet CIoU@0.3 by frame": "duet_ciou_at_30_by_frame", "duet AUC": "duet_auc", "duet AUC by frame": "duet_auc_by_frame"}


@pytest.fixture(scope="session")
def program() -> Path:
    named = os.environ.get("TVSL")
    built = [Path(named)] if named else [REPOSITORY / f"target/{profile}/tvsl" for profile in ("release", "debug")]
    found = next((path for path in built if path.is_file()), None)
    if found is None:
        (pytest.fail if named else pytest.skip)(f"no program at {', '.join(map(str, built))}: `make test-engines` builds it")
    return found


def tvsl(program: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """The program, with no configuration but the one it is given."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TVSL")}
    return subprocess.run([program, *map(str, arguments)], cwd=REPOSITORY, env=kept | environment, capture_output=True, text=True)


def write_scenes(folder: Path, model: Path, count: int, single: str, duet: list[str]) -> Path:
    """Blurred noise with random boxes: maps of every shape. One sound fills a window, one is shorter, one longer."""
    chance, scenes, audio = np.random.default_rng(11), [], manifest.read(model)["audio"]
    boxed = lambda: [*(x := chance.uniform(0, 0.6, 2)).round(3), *(x + chance.uniform(0.2, 0.4, 2)).round(3)]
    for i in range(count):
        small = Image.fromarray(chance.integers(0, 256, (9, 16, 3), dtype=np.uint8))
        small.resize([(640, 360), (333, 500)][i % 2], Image.BICUBIC).save(folder / f"{i}.png")
        length = int([1.0, 0.4, 1.4][i % 3] * audio["window"] * audio["sample_rate"])
        wave = chance.normal(0, 0.1, length).cumsum() % 0.5
        soundfile.write(folder / f"{i}.wav", wave, audio["sample_rate"], subtype="FLOAT")
        sources = [{"class": name, "boxes": [boxed()]} for name in (duet if i % 2 else [single])]
        scenes.append({"image": f"{i}.png", "audio": f"{i}.wav", "kind": "duet" if i % 2 else "single", "sources": sources})
    (folder / "scenes.json").write_text(json.dumps({"scenes": scenes}))
    return folder / "scenes.json"


def judged(program: Path, scenes: Path, *options: object) -> dict[str, float]:
    """What `tvsl eval` says with these options, by its names."""
    done = tvsl(program, "eval", scenes, "--json", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return {key: report[key]["value"] for key in NAMES.values()}


def agree(program: Path, scenes: Path, model: Path, *options: object) -> None:
    """Every figure of `tvsl eval` with these options, beside Python's with the folder `model`, to a tenth of a point."""
    said, own = judged(program, scenes, *options), figures(by_program(model, labelled(scenes)))
    assert own.keys() == NAMES.keys()
    for name, key in NAMES.items():
        assert own[name][0] == pytest.approx(100 * said[key], abs=0.1), name
    assert own["all AP"][0] > 5


def test_both_judge_the_default_model_alike(program: Path, tmp_path: Path) -> None:
    agree(program, write_scenes(tmp_path, DEFAULT, 12, "guitar", ["dog", "cat"]), DEFAULT, "--model", DEFAULT)


def test_the_program_reads_a_jpeg_as_python_does(program: Path, tmp_path: Path) -> None:
    """In each of the eight orientations, with colours of every finesse, all at once or in passes: what Python read of it, as PNG, is
    judged to the same figures."""
    scenes = write_scenes(tmp_path, DEFAULT, 8, "guitar", ["dog", "cat"])
    said = json.loads(scenes.read_text())
    for orientation, scene in enumerate(said["scenes"], start=1):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        file = tmp_path / f"{orientation}.jpg"
        with Image.open(tmp_path / scene["image"]) as image:
            image.save(file, quality=50 + 6 * orientation, subsampling=orientation % 3, progressive=orientation > 4, exif=exif)
        Image.fromarray(picture.read(file)).save(tmp_path / scene["image"])
    of_png = judged(program, scenes, "--model", DEFAULT)
    said["scenes"] = [scene | {"image": f"{orientation}.jpg"} for orientation, scene in enumerate(said["scenes"], start=1)]
    scenes.write_text(json.dumps(said))
    assert judged(program, scenes, "--model", DEFAULT) == of_png and of_png["cap"] > 0.05


def test_both_judge_a_folder_that_python_wrote_alike(program: Path, folder: Path, tmp_path: Path) -> None:
    agree(program, write_scenes(tmp_path, folder, 12, "guitar", ["dog", "cat"]), folder, "--model", folder)


def configured(tmp_path: Path, model: Path) -> Path:
    """Classes that the folder has never heard of, one with a prompt of its own."""
    (tmp_path / "tvsl.toml").write_text(f"""
        [model]
        path = {json.dumps(str(model))}
        cache = {json.dumps(str(tmp_path / "cache"))}
        [detection]
        classes = ["dog", "steam whistle", "someone's café, at night"]
        prompts."steam whistle" = "a photo of a {{}} of a locomotive"
    """)
    return tmp_path / "tvsl.toml"


def test_classes_in_free_words_are_the_same_to_both(program: Path, folder: Path, model, heads, tmp_path: Path) -> None:
    """The program tokenises and runs the text graph; Python's own tokens are in a folder written for these classes."""
    classes = ["dog", "steam whistle", "someone's café, at night"]
    prompts = ["dog", "a photo of a steam whistle of a locomotive", classes[2]]
    importer.write(tmp_path / "own", model, heads, [{"name": n, "prompt": p} for n, p in zip(classes, prompts)])
    scenes = write_scenes(tmp_path, folder, 8, classes[1], [classes[0], classes[2]])
    agree(program, scenes, tmp_path / "own", "--config", configured(tmp_path, folder))


def test_the_program_opens_a_folder_that_python_wrote(program: Path, folder: Path, tmp_path: Path) -> None:
    done = tvsl(program, "check", "--model", "--config", configured(tmp_path, folder))
    assert done.returncode == 0, done.stderr
    assert "audioclip 1, 3 classes" in done.stdout and "CPU" in done.stdout
    listed = tvsl(program, "check", "--classes", "--config", configured(tmp_path, folder)).stdout
    assert listed.splitlines() == ["dog", "steam whistle", "someone's café, at night"]


@pytest.fixture(scope="session")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine with the stand-ins for CUDA and TensorRT 10.3 of the program's own tests, which hold to a plan's shapes."""
    libraries, fakes = tmp_path_factory.mktemp("gpu"), REPOSITORY / "tests/fake_tensorrt"
    release = [f"-D{name}={value}" for name, value in (("COLUMN", 10), ("MAJOR", 10), ("MINOR", 3), ("PATCH", 0), ("BUILD", 26))]
    for name, source in (("libnvinfer.so.10", ["-O0", fakes / "fake.c", "-ldl", "-lm", *release]),
                         ("libcuda.so", ["-O1", "-ffp-contract=off", "-I", REPOSITORY / "src/engine/tensorrt", fakes / "cuda.c"])):
        subprocess.run(["cc", "-shared", "-fPIC", "-o", libraries / name, *source], check=True)
    (libraries / "libnvonnxparser.so.10").symlink_to(libraries / "libnvinfer.so.10")
    return {"LD_LIBRARY_PATH": str(libraries), "FAKE_TENSORRT_ONNXRUNTIME": str(REPOSITORY / ".cache/onnxruntime/libonnxruntime.so")}


def test_plans_are_built_of_a_folder_that_python_wrote_and_judge_like_the_cpu(program: Path, folder: Path, gpu, tmp_path: Path) -> None:
    """AudioCLIP's 143 rows of sound, and as many classes in free words as a configuration may name."""
    model = shutil.copytree(folder, tmp_path / "model")
    classes = ["guitar", "dog", "cat", *(f"sound of kind {n}" for n in range(497))]
    scenes = write_scenes(tmp_path, model, 4, "guitar", ["dog", "cat"])

    def config(kind: str) -> Path:
        path = tmp_path / f"{kind}.toml"
        path.write_text(f"""
            [model]
            path = {json.dumps(str(model))}
            cache = {json.dumps(str(tmp_path / kind))}
            [engine]
            kind = "{kind}"
            tensorrt.rebuild = "never"
            tensorrt.precision = "fp32"
            [detection]
            classes = {json.dumps(classes)}
        """)
        return path

    for action in ("build", "verify"):
        done = tvsl(program, "engine", action, "--config", config("tensorrt"), **gpu)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "this device is ready" in done.stdout
    judged = [tvsl(program, "eval", scenes, "--json", "--config", config(kind), **gpu) for kind in ("tensorrt", "cpu")]
    assert all(done.returncode == 0 for done in judged), [done.stderr for done in judged]
    by_gpu, by_cpu = (json.loads(done.stdout) for done in judged)
    for key in NAMES.values():
        assert by_gpu[key]["value"] == pytest.approx(by_cpu[key]["value"], abs=0.001), key


def commanded(folder: Path, model: AudioClip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    """The guide's commands from a checkpoint to the folder `model`, on clips made here; what `table` printed."""
    monkeypatch.setattr(AudioClip, "full", AudioClip.small)
    monkeypatch.chdir(material.folder(folder))
    torch.save(model.published(), "small.pt")
    Path("train.toml").write_text('encoders = "audioclip"\ndata = "."\nsplit = "train.txt"\nout = "trained"\nmixtures = 1\nepochs = 2\n')
    Path("duet_test.csv").write_text("dog_0,dog,cat_0,cat\n")
    Path("boxes.json").write_text(json.dumps([{"file": f"{c}_0", "class": c, "bbox": [[0, 0, 1, 1]]} for c in ("dog", "cat")]))
    for command in ("import-audioclip small.pt --out audioclip --split train.txt",
                    "train --config train.toml --method tvsl-two-stage --method avgn",
                    "table --encoders audioclip --data . --boxes boxes.json --trained trained --test duet_test.csv",
                    "deploy --encoders audioclip --weights trained/tvsl-two-stage/weights.pt --out model"):
        assert main(command.split()) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_a_checkpoint_is_trained_judged_and_deployed_and_the_program_takes_it(
        program: Path, model: AudioClip, gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Squashed pictures, waveforms, a text graph, a head of the picture's own and half precision, all the way. Plans are held to the CPU on the golden inputs."""
    printed = commanded(tmp_path, model, monkeypatch, capsys)
    assert all(f"| {name} | " in printed for name in ("tvsl-two-stage", "avgn", "tvsl-untrained"))
    said = manifest.read(tmp_path / "model")
    single = said["graphs"]["fp32"]
    assert single["image_head"] == "image-head.onnx" and said["graphs"]["fp16"] == single | {"image": "image-fp16.onnx"}
    config = configured(tmp_path, tmp_path / "model")
    checked = tvsl(program, "check", "--model", "--config", config)
    assert checked.returncode == 0, checked.stderr
    assert "audioclip-trained 1, 3 classes" in checked.stdout
    for action in ("build", "verify"):
        done = tvsl(program, "engine", action, "--config", config, **gpu)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "this device is ready" in done.stdout
    agree(program, write_scenes(tmp_path, tmp_path / "model", 6, "bird", ["dog", "cat"]), tmp_path / "model", "--model", tmp_path / "model")


def test_a_fixed_list_refuses_free_words_and_an_altered_folder_is_refused(program: Path, folder: Path, tmp_path: Path) -> None:
    fixed = tvsl(program, "check", "--config", configured(tmp_path, DEFAULT))
    assert fixed.returncode == 78 and "steam whistle: the model `tvsl-default` has a fixed list of classes" in fixed.stderr
    for path in folder.iterdir():
        (tmp_path / "altered").mkdir(exist_ok=True)
        (tmp_path / "altered" / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / "altered/text.bin").read_bytes())
    data[1000] ^= 1
    (tmp_path / "altered/text.bin").write_bytes(data)
    altered = tvsl(program, "check", "--model", "--config", configured(tmp_path, tmp_path / "altered"))
    assert altered.returncode == 78 and "text.bin" in altered.stderr
