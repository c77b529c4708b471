"""StudyRecipe: a measurement as YAML - which study, its settings, and what the paper says about it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from qpeft.errors import ConfigError, nearest, require_choice
from qpeft.recipes.reader import apply_settings, place_of, read_mapping
from qpeft.records import StudySpec
from qpeft.records.spec import Strict

STUDIES = Path(__file__).parent / "studies"
SECTION = "settings"


class StudyRecipe(Strict):
    """The keys of a study's file; ``extends`` names another file to start from."""

    title: str = Field(description="one line for tables and the page")
    description: str = ""
    study: str = Field(
        description="gradient-check, gradient-variance, counts, step-time, qaa-complexity, noise-distance or qaa-noise"
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="fields of the study's settings")
    paper: dict[str, Any] | None = Field(None, description="paper id, item, what it says, sources")

    def spec(self) -> StudySpec:
        """What the record's identity is made from."""
        return StudySpec(study=self.study, settings=self.settings)


def packaged_studies() -> dict[str, Path]:
    """Name and file of every study that ships with qpeft.

    >>> "counts-gpt2" in packaged_studies()
    True
    """
    return {path.stem: path for path in sorted(STUDIES.glob("*.yaml"))}


def find_study(name: str) -> Path:
    """The file of a packaged study, or the path itself.

    Raises:
        ConfigError: There is neither.
    """
    known = packaged_studies()
    path = known.get(name, Path(name))
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a name is too long
        raise ConfigError(
            f"a study's name ({', '.join(known)}) or a YAML file was expected; got {name!r}{nearest(name, known)}"
        )
    return path


def load_study(name: str, given: list[str] | None, models: Mapping[str, type[BaseModel]]) -> StudyRecipe:
    """Read, merge, check, and fill in every default.

    Args:
        name: A packaged study or a YAML file.
        given: Texts ``key=value`` laid over the file's settings.
        models: The settings each study takes, by its name.

    Returns:
        The recipe, its settings complete.

    Raises:
        ConfigError: All faults of the file at once, each with its line where it has one, key, value and nearest
            valid key.
    """
    path = find_study(name)
    # Left as typed where there is no value, so that the message shows what was typed.
    texts = [f"{SECTION}.{text.removeprefix(SECTION + '.')}" if "=" in text else text for text in given or []]
    body = apply_settings(read_mapping(path), texts)
    try:
        recipe = StudyRecipe.model_validate(body)
    except ValidationError as error:
        raise refused(error, path, texts, StudyRecipe, ()) from error
    require_choice(f"{path.name}: study", recipe.study, models)
    model = models[recipe.study]
    try:
        settings = model.model_validate(recipe.settings)
    except ValidationError as error:
        raise refused(error, path, texts, model, (SECTION,)) from error
    return recipe.model_copy(update={"settings": settings.model_dump(mode="json")})


def refused(
    error: ValidationError, path: Path, texts: list[str], model: type[BaseModel], section: tuple[str, ...]
) -> ConfigError:
    """All faults of one check in plain words, one a line."""
    lines = []
    for fault in error.errors():
        keys = (*section, *fault["loc"])
        place, dotted = place_of(path, keys, texts), ".".join(str(key) for key in keys)
        if fault["type"] == "extra_forbidden":
            # Only the keys of the model itself are known here; deeper ones are named without a hint.
            fields = list(model.model_fields) if len(fault["loc"]) == 1 else []
            allowed = f"{nearest(str(keys[-1]), fields)}; allowed: {', '.join(fields)}" if fields else ""
            lines.append(f"{place}: {dotted} is not a key{allowed}")
        elif fault["type"] == "missing":
            lines.append(f"{place}: {dotted} is required")
        else:
            lines.append(f"{place}: {dotted}: {fault['msg']}; got {fault['input']!r}")
    return ConfigError("\n".join(lines))
