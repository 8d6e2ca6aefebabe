"""What an image's name stands for: this Python environment and checkout, less the packages that the image lacks."""

import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOUSE = Path(__file__).parents[2]
_SITE = Path(sysconfig.get_paths()["purelib"])
_HIDDEN_SITE = "/image/site-packages"


@dataclass(frozen=True)
class Image:
    """Folders of the host that the image contains at the same place, its environment, user and working directory."""

    folders: tuple[Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    site_packages: Path | None = None
    user: int = 10001
    working_dir: str = "/"

    def binds(self) -> list[str]:
        """The options of bwrap that make its file system."""
        options = []
        for folder in self.folders:
            options += ["--ro-bind", str(folder), str(folder)]
        if self.site_packages:
            options += ["--ro-bind", str(_SITE), _HIDDEN_SITE, "--ro-bind", str(self.site_packages), str(_SITE)]
        return options


def python_image(without: Path | None = None, environment: Mapping[str, str] | None = None) -> Image:
    """An image of this environment and checkout, or of what `packages_without` left of it."""
    return Image(
        folders=tuple(dict.fromkeys([Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), HOUSE])),
        environment={
            "PATH": f"{Path(sys.prefix).resolve() / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(HOUSE),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",  # many pods share this machine
        }
        | dict(environment or {}),
        site_packages=without,
    )


def program_image(*below: str) -> Image:
    """An image of programs of this machine, which are below these folders of /usr in folders called `bin`."""
    folders = [str(path) for folder in below for path in sorted(Path(folder).glob("**/bin"), reverse=True)]
    return Image(folders=(), environment={"PATH": ":".join([*folders, "/usr/local/bin", "/usr/bin", "/bin"])})


def packages_without(folder: Path, packages: tuple[str, ...]) -> Path:
    """Make `folder` one of links to all that is installed but these packages, which cannot be imported there."""
    folder.mkdir(parents=True)
    names = "|".join(map(re.escape, packages))
    hidden = re.compile(rf"({names})(\.py|\.libs|-.*\.(dist|egg)-info)?", re.IGNORECASE)
    for entry in os.scandir(_SITE):
        if not hidden.fullmatch(entry.name):
            (folder / entry.name).symlink_to(f"{_HIDDEN_SITE}/{entry.name}")
    return folder
