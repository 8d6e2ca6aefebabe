"""Landing zones: a folder or an object store prefix with one subfolder for each source."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from openthoughts_dagster.landing.content_hashes import ContentHashes
from openthoughts_dagster.landing.folder_zone import FolderZone
from openthoughts_dagster.landing.landed_files import LandedFolder, Stamp
from openthoughts_dagster.landing.object_store_zone import ObjectStoreZone


class LandingZone(Protocol):
    """A place where sources land. Every method raises LandingError when the place cannot be read or written.

    Attributes:
        address: The folder, or the prefix of an object store.
    """

    address: str

    def scan(self) -> dict[str, LandedFolder]:
        """List the files of every source. No file is read.

        Returns:
            A folder for each source, by name. A problem with one source is noted in its folder.
        """

    def read(self, name: str, file: str, most: int) -> bytes:
        """Read the beginning of a file.

        Args:
            name: The source.
            file: The path of the file in the source's folder.
            most: The largest number of bytes to read.
        """

    def content(self, name: str, file: str, stamp: Stamp, hashes: ContentHashes) -> str:
        """Identify the content of a file: equal values mean equal contents.

        Raises ContentNotKnown when the hash is known only at a later look.

        Args:
            name: The source.
            file: The path of the file in the source's folder.
            stamp: The state of the file in the latest scan.
            hashes: Hashes files of this machine.
        """

    def write(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        """Write the files of a source, in the order of `files`.

        Args:
            name: The source.
            files: A local file or the bytes to write, by the name of the file in the source's folder.
        """

    def remove(self, name: str, files: Collection[str]) -> None:
        """Delete files of a source. Files that are not there are skipped.

        Args:
            name: The source.
            files: Paths of files in the source's folder.
        """


def open_landing_zone(address: str) -> LandingZone:
    """Open the landing zone at a folder, or at an address such as s3://bucket/landing. Nothing is read yet."""
    local = address.removeprefix("file://")
    return ObjectStoreZone(local) if "://" in local else FolderZone(local)
