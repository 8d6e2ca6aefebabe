"""Read a source with the reader that its recipe names."""

from openthoughts_dagster.recipe import FilesSource, HuggingFaceSource, Recipe, Source
from openthoughts_dagster.sources.files import read_files
from openthoughts_dagster.sources.hugging_face import read_hugging_face
from openthoughts_dagster.sources.normalize import SourceRows, normalize
from openthoughts_dagster.sources.procedural import procedural_columns, read_procedural


def read_source(source: Source, recipe: Recipe) -> SourceRows:
    """All questions of `source`, or a seeded sample of `source.limit` rows, and the rows that are no questions.

    Raises SourceError when the source cannot be read at all, or when not one of its rows has a question.
    """
    seed = f"{recipe.seed}:{source.name}"
    if isinstance(source, FilesSource):
        return normalize(source, source.columns, read_files(source, recipe.path(source.path)), seed)
    if isinstance(source, HuggingFaceSource):
        return normalize(source, source.columns, read_hugging_face(source, recipe.path, seed), seed)
    return normalize(source, procedural_columns(), read_procedural(source), seed)
