"""Sources that land beside the recipe: where they are, whether they are complete, and in which version."""

from openthoughts_dagster.landing.watch import Seen, Watch
from openthoughts_dagster.landing.watched_sources import WatchedSource, WatchedSources
from openthoughts_dagster.landing.zone import LandedFolder, LandingError, LandingZone, open_landing_zone

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
