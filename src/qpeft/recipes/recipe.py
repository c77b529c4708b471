"""Recipe: a comparison as YAML - differences from a named base, every method a mapping, checked as a whole."""

import os
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator

from qpeft.circuits.own import SUFFIX, read_program, written
from qpeft.errors import ConfigError, nearest
from qpeft.method import METHODS
from qpeft.recipes.reader import apply_settings, merge, parse, place_of, read_mapping
from qpeft.records import (
    Comparison,
    DataSpec,
    EvalSpec,
    ExecutionSpec,
    MethodSpec,
    ModelSpec,
    RunSpec,
    TrainSpec,
)
from qpeft.records.spec import Seed, Strict

FOLDER = Path(__file__).parent
SECTIONS: dict[str, type[BaseModel]] = {
    "model": ModelSpec,
    "data": DataSpec,
    "train": TrainSpec,
    "eval": EvalSpec,
    "execution": ExecutionSpec,
}
ROW_SECTIONS = ("data", "train", "execution")
MOST_FAULTS = 25
# Options whose best value has changed since the first records: (option, value of old, value of today). A spec without
# the option means the value of old for ever, so that a record means what was run and keeps its identity; a recipe or a
# command line without it means today's, which is written into the spec.
DATED = {"qaa": ("preset", "recommended", "measured"), "prefix": ("start", "random", "tokens")}


class Recipe(Strict):
    """The keys of a recipe file.

    A method is ``{name: ..., option: value, ...}``; ``over`` is a method itself; ``like: label`` starts from
    another row; a ``train``, ``data`` or ``execution`` section inside a method overrides the common one for that row.
    """

    title: str = Field(description="one line for tables and the page")
    description: str = ""
    paper: dict[str, Any] | None = Field(None, description="paper id, item, published values, sources")
    model: ModelSpec = ModelSpec()
    data: DataSpec = DataSpec()
    train: TrainSpec = TrainSpec()
    eval: EvalSpec = EvalSpec()
    execution: ExecutionSpec = Field(ExecutionSpec(), description="of every method with a circuit")
    methods: dict[str, dict[str, Any]] = Field(min_length=1, description="label: method")
    baseline: str | None = Field(None, description="label to compare with; the first method by default")
    seeds: list[Seed] = Field([0, 1, 2], min_length=1)
    learning_rates: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        [], description="grid tried for every trained method on validation"
    )

    @field_validator("seeds", "learning_rates")
    @classmethod
    def different(cls, values: list[float]) -> list[float]:
        """Refuse a value that stands twice: its run would count twice."""
        if len(set(values)) < len(values):
            raise ValueError("every value may stand once only")
        return values


def packaged() -> dict[str, Path]:
    """Name and file of every comparison that ships with qpeft; studies are another kind of recipe."""
    return {path.stem: path for path in sorted(FOLDER.rglob("*.yaml")) if path.parent.name != "studies"}


def find_recipe(name: str) -> Path:
    """The file of a packaged recipe, or the path itself.

    Raises:
        ConfigError: There is neither.
    """
    if name in packaged():
        return packaged()[name]
    path = Path(name)
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a name is too long
        known = packaged()
        raise ConfigError(
            f"a recipe name ({', '.join(known)}) or a YAML file was expected; got {name!r}{nearest(name, known)}"
        )
    return path


def load_recipe(name: str, settings: list[str] | None = None) -> Comparison:
    """Read, merge, check, expand.

    Args:
        name: A packaged recipe or a YAML file.
        settings: Texts ``a.b=value`` laid over the file.

    Returns:
        The comparison: one RunSpec a method.

    Raises:
        ConfigError: All faults of the file at once, each with its line where it has one, key, value and nearest
            valid key.
    """
    path = find_recipe(name)
    body = apply_settings(read_mapping(path), settings or [])
    try:
        recipe = Recipe.model_validate(body)
        faults = row_faults(recipe)
    except ValidationError as error:
        faults = list(error.errors())
    if faults:
        # Each place is looked up in the files anew; nobody reads a thousand lines.
        lines = [describe(fault, path, settings or []) for fault in faults[:MOST_FAULTS]]
        more = len(faults) - len(lines)
        raise ConfigError("\n".join([*lines, f"and {more} more"] if more else lines))
    try:
        return expand(recipe, path.stem)
    except ConfigError as error:
        raise ConfigError("\n".join(f"{path.name}: {line}" for line in str(error).splitlines())) from error


def row_faults(recipe: Recipe) -> list[Any]:
    """The faults of the sections inside methods, each reported for the row it stands in."""
    found: list[Any] = []
    for label, entry in recipe.methods.items():
        for key in ROW_SECTIONS:
            own, place = entry.get(key, {}), ("methods", label, key)
            if not isinstance(own, dict):
                found.append({"type": "dict_type", "loc": place, "msg": "must be a mapping of keys", "input": own})
                continue
            try:
                SECTIONS[key].model_validate({**getattr(recipe, key).model_dump(), **own})
            except ValidationError as error:
                found += [{**fault, "loc": (*place, *fault["loc"])} for fault in error.errors()]
    return found


def describe(fault: Any, path: Path, settings: list[str]) -> str:
    """One fault of a recipe in plain words."""
    keys = tuple(fault["loc"])
    place, dotted = place_of(path, keys, settings), ".".join(str(key) for key in keys)
    if fault["type"] == "extra_forbidden":
        fields = keys_beside(keys)
        return f"{place}: {dotted} is not a key{nearest(str(keys[-1]), fields)}; allowed: {', '.join(fields)}"
    if fault["type"] == "missing":
        return f"{place}: {dotted} is required"
    return f"{place}: {dotted}: {fault['msg']}; got {fault['input']!r}"


def keys_beside(keys: tuple[Any, ...]) -> list[str]:
    """The keys that may stand where a key of a recipe stands.

    >>> keys_beside(("eval", "generation", "bertscore", "layr"))
    ['encoder', 'layer', 'rescale']
    """
    # The sections of a row are those of the recipe.
    inner = keys[2:] if keys[0] == "methods" else keys
    section: type[BaseModel] = Recipe
    for key in inner[:-1]:
        annotation = section.model_fields[key].annotation
        section = next(part for part in (annotation, *get_args(annotation)) if hasattr(part, "model_fields"))
    return list(section.model_fields)


def expand(recipe: Recipe, name: str) -> Comparison:
    """One RunSpec for each method of a recipe.

    Raises:
        ConfigError: All rows that cannot be read, one a line, and a baseline that is no row.
    """
    runs, faults, labels = [], [], list(recipe.methods)
    for label in labels:
        try:
            runs.append(run_of(recipe, label))
        except ConfigError as error:
            faults.append(str(error))
    baseline = recipe.baseline or labels[0]
    if baseline not in labels:
        faults.append(f"baseline must be one of {', '.join(labels)}; got {baseline!r}{nearest(baseline, labels)}")
    tune_seed = Comparison.model_fields["tune_seed"].default
    if recipe.learning_rates and tune_seed in recipe.seeds:
        faults.append(f"seeds must leave {tune_seed} to the tuning runs; got {recipe.seeds}")
    if faults:
        raise ConfigError("\n".join(faults))
    return Comparison(
        name=name,
        title=recipe.title,
        baseline=baseline,
        runs=tuple(runs),
        seeds=tuple(recipe.seeds),
        learning_rates=tuple(recipe.learning_rates),
    )


def run_of(recipe: Recipe, label: str) -> RunSpec:
    """The spec of one row, with the row's own sections laid over the common ones."""
    entry = inherited(recipe.methods, label, ())
    sections: dict[str, BaseModel] = {}
    for key in ROW_SECTIONS:
        common = getattr(recipe, key)
        if key == "execution" and common != ExecutionSpec() and not with_circuit(entry):
            common = ExecutionSpec()  # a classical row of the same table runs nothing there
        sections[key] = SECTIONS[key].model_validate({**common.model_dump(), **entry.pop(key, {})})
    return RunSpec.model_validate(
        {
            "label": label,
            "method": method_of(entry, f"methods.{label}"),
            "model": recipe.model,
            "eval": recipe.eval,
            **sections,
        }
    )


def with_circuit(entry: dict[str, Any]) -> bool:
    """Whether a row runs circuits; asked only where the recipe says where they run, since the answer needs torch."""
    return str(entry.get("name")) in METHODS and bool(METHODS[str(entry["name"])].circuits_in)


def inherited(methods: dict[str, dict[str, Any]], label: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """A method entry with everything it takes over from the row named by ``like``."""
    if label not in methods:
        raise ConfigError(
            f"methods.{seen[-1]}.like must be one of {', '.join(methods)}; got {label!r}{nearest(label, methods)}"
        )
    if label in seen:
        raise ConfigError(f"methods.{label} is like itself through {' -> '.join(seen)}")
    entry = dict(methods[label])
    parent = entry.pop("like", None)
    if parent is None:
        return entry
    below = inherited(methods, str(parent), (*seen, label))
    over = entry.get("over")
    if isinstance(over, dict) and "name" in over:
        below = {key: value for key, value in below.items() if key != "over"}  # another method, none of its options
    return merge(below, entry)


def method_of(entry: dict[str, Any], where: str) -> MethodSpec:
    """A MethodSpec from a flat mapping: name, over, and the rest as options.

    Raises:
        ConfigError: The name is missing, or ``over`` is no method; ``where`` says which entry it is.
    """
    rest = dict(entry)
    if "name" not in rest:
        raise ConfigError(f"{where}.name is required: base, full, lora, dora, sora, ffa, prefix, qaa, qpa, peft, ...")
    name, over = rest.pop("name"), rest.pop("over", None)
    if "ansatz" in rest:
        rest["ansatz"] = programs_read(rest["ansatz"])
    if over is not None and not isinstance(over, dict):
        raise ConfigError(f"{where}.over must be a method such as {{name: lora, r: 4}}; got {over!r}")
    below = method_of(over, f"{where}.over") if over else None
    return MethodSpec(name=str(name), options=dated(str(name), rest), over=below)


def dated(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a spec: today's value where the recipe gives none, nothing where it gives the value of old.

    >>> dated("qaa", {}), dated("qaa", {"preset": "recommended"}), dated("lora", {"r": 4})
    ({'preset': 'measured'}, {}, {'r': 4})
    """
    if name not in DATED:
        return options
    key, old, today = DATED[name]
    value = options.get(key, today)
    rest = {other: given for other, given in options.items() if other != key}
    return rest if value == old else {**rest, key: value}


def programs_read(ansatz: Any) -> Any:
    """The text of a .qasm file in place of its path; of a list of them, texts by their number of qubits.

    So a run's identity holds the circuit itself, and a record can be read where the file is not.

    Raises:
        ConfigError: A file cannot be read, or is no circuit.
    """
    if isinstance(ansatz, list):
        return written([programs_read(part) for part in ansatz])
    return read_program(Path(ansatz)) if isinstance(ansatz, str) and ansatz.endswith(SUFFIX) else ansatz


def parse_method(text: str) -> MethodSpec:
    """A method from one line of YAML, for the command line.

    >>> parse_method("{name: lora, r: 4}").options
    {'r': 4}
    """
    body = parse(text, "--method")
    return method_of(body if isinstance(body, dict) else {"name": body}, "--method")
