"""A choice and its options in one word, ``name:key=value,key=value``, as recipes and the command line write it."""

from qpeft.errors import ConfigError


def read_setting(text: str) -> tuple[str, dict[str, str]]:
    """Split a setting into its name and its options.

    >>> read_setting("aer:device=torino,shots=20x")
    ('aer', {'device': 'torino', 'shots': '20x'})

    Raises:
        ConfigError: An option is no ``key=value``, or a key stands twice.
    """
    name, _, rest = text.strip().partition(":")
    options: dict[str, str] = {}
    for part in rest.split(",") if rest else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value) or key in options:
            raise ConfigError(
                f"options must be key=value, each key once, as in {name}:a=1,b=2; got {part!r} in {text!r}"
            )
        options[key] = value
    return name.strip(), options
