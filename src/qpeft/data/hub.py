"""Reading a data set of the Hugging Face hub; the only file that imports `datasets`."""

from qpeft.data.formats import Record
from qpeft.errors import DataError

_SPLITS = {"train": ("train",), "valid": ("validation", "valid", "val", "dev"), "test": ("test",)}


def read_hub(name: str) -> dict[str, list[Record]]:
    """The splits of a hub data set.

    Args:
        name: owner/name, or owner/name:configuration.

    Returns:
        split -> records; splits the data set lacks are absent.

    Raises:
        DataError: where it cannot be loaded (offline, misspelt, private) or has no train split.
    """
    import datasets

    repository, _, configuration = name.partition(":")
    try:
        loaded = datasets.load_dataset(repository, configuration or None)
    except Exception as error:  # its network layers raise many unrelated types
        raise DataError(
            f"data.name {name!r} is no file or folder here and could not be loaded from the hub "
            f"(datasets.load_dataset({repository!r}, {configuration or None!r}): {type(error).__name__}: {error}). "
            "Check the spelling and the network, or download it once elsewhere and name its folder or file; "
            "'embedded' needs neither"
        ) from error
    found = {ours: next((t for t in theirs if t in loaded), None) for ours, theirs in _SPLITS.items()}
    if found["train"] is None:
        raise DataError(f"the hub data set {name!r} must have a train split; it has {', '.join(map(str, loaded))}")
    return {ours: [_record(r) for r in loaded[theirs]] for ours, theirs in found.items() if theirs is not None}


def _record(record: dict[str, object]) -> Record:
    # The hub's WikiText keeps a newline at the end of each line; a local copy read here does not.
    text = record.get("text")
    return {**record, "text": text.removesuffix("\n")} if isinstance(text, str) else record
