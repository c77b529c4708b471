"""The known layouts of a record, and how each becomes an Example."""

from collections.abc import Callable, Mapping
from typing import Any

from qpeft.data.examples import Example
from qpeft.data.templates import Render, plain_turns
from qpeft.data.told import UNREAD, Told
from qpeft.data.turns import Chat, Turn, answer, is_conversation, read_history, read_tools, read_turns
from qpeft.data.values import blank, opened, words
from qpeft.errors import DataError, require_choice

Record = str | Mapping[str, Any]

_PAIRS = (("prompt", "completion", ""), ("question", "answer", "\n"))
# Fields any conversation may have beside its turns.
_BESIDE = frozenset({"system", "history", "tools", "functions", "chat_template_kwargs"})
_PREFERENCES = "it belongs to preference data, which is not what trains here"
_SENSES = "only text is read"
_REFUSED = {
    **dict.fromkeys(("chosen", "rejected", "kto_tag"), _PREFERENCES),
    **dict.fromkeys(("image", "images", "video", "videos", "audio", "audios"), _SENSES),
    **dict.fromkeys(("tool_calls", "function_call"), "a call belongs into the turn that makes it"),
}
_FLAGS = ("weight", "train", "training", "loss")


def _text(record: Mapping[str, Any], render: Render, told: Told) -> Example:
    return Example(((words(record["text"], "text", told), True),))


def _alpaca(record: Mapping[str, Any], render: Render, told: Told) -> Example:
    asked, given, answered = (words(record.get(key), key, told) for key in ("instruction", "input", "output"))
    given = given.strip()
    # Some releases of the data write the word instead of leaving the field empty.
    given = "" if given.lower() == "<noinput>" else given
    if render is not plain_turns:
        asked = f"{asked}\n\n{given}" if given else asked
        return render(_chat(record, (Turn("user", asked), answer(answered)), told), told)
    beside = _chat(record, (), told)
    if beside.tools or beside.options:
        plain_turns(beside, told)  # refuses tools, tells options
    head = "Below is a task with some input to it." if given else "Below is a task."
    head += " Write an answer that does what is asked."
    systems = [turn.content for turn in beside.turns if turn.role == "system"]
    rounds = [turn for turn in beside.turns if turn.role != "system"]
    held, segments = "".join(systems) or head, []
    for question, reply in zip(rounds[::2], rounds[1::2], strict=True):
        held += f"\n\n### Instruction:\n{question.content}\n\n### Response:\n"
        segments += [(held, False), (reply.content, reply.learned)]
        held = ""
    parts = [held, f"### Instruction:\n{asked}", *([f"### Input:\n{given}"] if given else []), "### Response:\n"]
    return Example((*segments, ("\n\n".join(parts), False), (answered, True)))


def _messages(record: Mapping[str, Any], render: Render, told: Told) -> Example:
    return render(_chat(record, read_turns(record["messages"], told), told), told)


def _sharegpt(record: Mapping[str, Any], render: Render, told: Told) -> Example:
    return render(_chat(record, read_turns(record["conversations"], told, "conversations"), told), told)


def _prompt_completion(record: Mapping[str, Any], render: Render, told: Told) -> Example:
    first, second, between = next(pair for pair in _PAIRS if pair[0] in record and pair[1] in record)
    asked, answered = (_part(record[key]) for key in (first, second))
    conversation = any(isinstance(part, list | tuple) for part in (asked, answered))
    beside = any(not blank(record.get(name)) for name in _BESIDE)
    if render is plain_turns and not conversation and not beside:
        return Example(((words(asked, first, told) + between, False), (words(answered, second, told), True)))
    # What a prompt's earlier answers say was not written now: it is context, as TRL has it.
    before = (
        read_turns(asked, told, first, learned=False)
        if isinstance(asked, list | tuple)
        else (Turn("user", words(asked, first, told)),)
    )
    after = (
        read_turns(answered, told, second)
        if isinstance(answered, list | tuple)
        else (answer(words(answered, second, told)),)
    )
    return render(_chat(record, (*before, *after), told), told)


def _part(value: Any) -> Any:
    """A list of turns where it is one, also as JSON text; any other value as it is."""
    try:
        read = opened(value, "")
    except DataError:
        return value
    return read if is_conversation(read) and read else value


def _chat(record: Mapping[str, Any], turns: tuple[Turn, ...], told: Told) -> Chat:
    """Turns with the system words, earlier rounds, tools and template options that stand beside them."""
    system = words(record.get("system"), "system", told)
    own = [turn.content for turn in turns if turn.role == "system"]
    if system.strip() and own and own[0].strip() != system.strip():
        raise DataError("a record must have one system text; it has a 'system' field and a turn that says another")
    head = (Turn("system", system),) if system.strip() and not own else ()
    tools = (*read_tools(record.get("tools")), *read_tools(record.get("functions"), "functions"))
    options = opened(record.get("chat_template_kwargs"), "chat_template_kwargs") or {}
    if not isinstance(options, Mapping):
        raise DataError(f"'chat_template_kwargs' must be an object; got {options!r:.60}")
    # A system turn of the conversation's own stays in front of the earlier rounds.
    start = 1 if turns and turns[0].role == "system" else 0
    history = read_history(record.get("history"), told)
    return Chat((*head, *turns[:start], *history, *turns[start:]), tools, options)


Conversion = Callable[[Mapping[str, Any], Render, Told], Example]
# name -> (the field sets that tell it, what it reads besides, the conversion); the first match wins.
_LAYOUTS: dict[str, tuple[tuple[frozenset[str], ...], frozenset[str], Conversion]] = {
    "messages": ((frozenset({"messages"}),), _BESIDE, _messages),
    "sharegpt": ((frozenset({"conversations"}),), _BESIDE, _sharegpt),
    "alpaca": ((frozenset({"instruction", "output"}),), _BESIDE | {"input"}, _alpaca),
    "prompt_completion": (tuple(frozenset(pair[:2]) for pair in _PAIRS), _BESIDE, _prompt_completion),
    "text": ((frozenset({"text"}),), frozenset(), _text),
}
FIELDS = sorted({name for sets, more, _ in _LAYOUTS.values() for name in (*frozenset().union(*sets), *more)})


def _fits(record: Record, layout: str) -> bool:
    if isinstance(record, str):
        return layout == "text"
    return any(fields <= record.keys() for fields in _LAYOUTS[layout][0])


def detect(record: Record) -> str | None:
    """The layout of one record, or None where its fields fit none.

    >>> detect({"instruction": "Add.", "input": "1 1", "output": "2"}), detect("a line"), detect({"id": 3})
    ('alpaca', 'text', None)
    """
    return next((layout for layout in _LAYOUTS if _fits(record, layout)), None)


def to_example(
    record: Record, layout: str = "auto", render: Render = plain_turns, told: Told | None = None
) -> tuple[Example, str]:
    """One record as an Example, with the layout it was read by.

    Args:
        record: a line of text or a mapping of fields.
        layout: a layout name, or auto.
        render: how a conversation becomes text; any but `plain_turns` writes instructions and prompts, too.
        told: receives what is not read, or written in another form.

    Returns:
        The example and the name of its layout.

    Raises:
        DataError: where the record's fields fit no layout, or not the one asked for, or hold what cannot be used.

    >>> to_example({"prompt": "2+2=", "completion": "4"})[0].segments
    (('2+2=', False), ('4', True))
    """
    require_choice("format", layout, ["auto", *_LAYOUTS])
    found = detect(record) if layout == "auto" else layout if _fits(record, layout) else None
    if found is None:
        fields = (
            "a line of text" if isinstance(record, str) else f"the fields {', '.join(map(str, record)) or '(none)'}"
        )
        wanted = _LAYOUTS if layout == "auto" else [layout]
        known = "; ".join(f"{n}: {' or '.join(' + '.join(sorted(f)) for f in _LAYOUTS[n][0])}" for n in wanted)
        raise DataError(
            f"a record must have the fields of a known layout ({known}); got {fields}. Rename the fields, "
            "or map them: --columns prompt=frage,completion=antwort"
        )
    if isinstance(record, str):
        return Example(((record, True),)), found
    told = Told() if told is None else told
    _look_over(record, found, told)
    return _LAYOUTS[found][2](record, render, told), found


def _look_over(record: Mapping[str, Any], layout: str, told: Told) -> None:
    """Refuse fields that change what a row means, and tell the others that are not read."""
    sets, more, _ = _LAYOUTS[layout]
    own = next(fields for fields in sets if fields <= record.keys())
    for name, value in record.items():
        if name in own or name in more or blank(value):
            continue
        if name in _REFUSED:
            raise DataError(f"the field {name!r} cannot be used: {_REFUSED[name]}. Remove the field, or the row")
        flag = isinstance(value, int | float) and (name in _FLAGS or (name == "label" and value is False))
        if flag and value != 1 and (name != "label" or layout == "prompt_completion"):
            raise DataError(f"the field {name!r} is {value!r}, and whole rows have no weights here. Leave the row out")
        told.add(UNREAD, str(name))
