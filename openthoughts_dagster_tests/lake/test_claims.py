"""A claim is one process's until it ends."""

from pathlib import Path

import pytest

from openthoughts_dagster.lake.claims import claim


def test_a_claim_is_one_process_s_until_it_ends(tmp_path: Path) -> None:
    address = str(tmp_path / "claims")
    with (
        claim(address, {}, "sweep") as ours,
        claim(address, {}, "sweep") as theirs,
        claim(address, {}, "dust") as other,
    ):
        assert ours and not theirs and other
    with pytest.raises(RuntimeError), claim(address, {}, "sweep") as again:
        assert again
        raise RuntimeError
    with claim(address, {}, "sweep") as after_the_failure:
        assert after_the_failure
