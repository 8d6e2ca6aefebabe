"""Sources that land beside the recipe: where they are, whether they are complete, and which of them were taken."""

from openthoughts_dagster.landing.catalog import Catalog, Entry
from openthoughts_dagster.landing.watch import Seen, Watch
from openthoughts_dagster.landing.zone import LandingError, LandingZone, open_landing_zone

__all__ = ["Catalog", "Entry", "LandingError", "LandingZone", "Seen", "Watch", "open_landing_zone"]
