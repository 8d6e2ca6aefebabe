"""Sources that land beside the recipe: where they are, whether they are complete, and which of them were taken."""

from openthoughts_dagster.landing.catalog import Catalog, Entry
from openthoughts_dagster.landing.places import LandingError, Place, open_place
from openthoughts_dagster.landing.watch import Seen, Watch

__all__ = ["Catalog", "Entry", "LandingError", "Place", "Seen", "Watch", "open_place"]
