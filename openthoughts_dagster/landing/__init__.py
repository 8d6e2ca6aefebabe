"""Sources that land beside the recipe: where they are, whether they are complete, and which version they have."""

from openthoughts_dagster.landing.landed_files import LandedFolder, LandingError
from openthoughts_dagster.landing.watch import Seen, Watch
from openthoughts_dagster.landing.watched_sources import WatchedSource, WatchedSources
from openthoughts_dagster.landing.zone import LandingZone, open_landing_zone

__all__ = [
    "LandedFolder",
    "LandingError",
    "LandingZone",
    "Seen",
    "Watch",
    "WatchedSource",
    "WatchedSources",
    "open_landing_zone",
]
