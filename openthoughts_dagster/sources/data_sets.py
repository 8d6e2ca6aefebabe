"""Data sets of benchmarks, each opened once in a process for as long as its content is the same."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from openthoughts_dagster.sources.copies import local_copy

_Opened = TypeVar("_Opened")

_MOST = 64  # data sets that stay open; their rows are mapped from disk and not in memory
_opened: OrderedDict[tuple[object, ...], object] = OrderedDict()
_lock = threading.Lock()


def open_once(key: tuple[object, ...], open_data: Callable[[], _Opened], version: str | None) -> _Opened:
    """Open a data set, or return what was opened before with the same key and version.

    A student's evaluation, the decontamination and the checks read the same benchmarks, and `datasets` takes about
    half a second to open one.

    Args:
        key: What is opened and how: address, subset, split and the like.
        open_data: Opens it. What it returns is shared and must not be changed.
        version: The commit, or a hash of the files; with None, which is unknown, it is opened every time.
    """
    if version is None:
        return open_data()
    named = (*key, version)
    with _lock:
        if named in _opened:
            _opened.move_to_end(named)
            return cast(_Opened, _opened[named])
    data = open_data()
    with _lock:
        _opened[named] = data
        while len(_opened) > _MOST:
            _opened.popitem(last=False)
    return data


def content_version(address: str, revision: str | None = None) -> str | None:
    """Return what changes when the content of a data set does: a hash of a folder's files, or the hub's commit.

    Args:
        address: A folder, or the id of a data set of the hub.
        revision: The revision that is read from the hub; the newest when None.

    Returns:
        None if the hub does not answer.
    """
    if Path(address).is_dir():
        return local_copy(Path(address), address, None, address).version
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(address, revision=revision).sha
    except Exception:  # errors of the hub and of the network have no common class; opening the data set reports them
        return None
