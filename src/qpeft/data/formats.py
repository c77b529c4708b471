"""The known layouts of a record, and how each becomes an Example."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qpeft.data.examples import Example
from qpeft.errors import DataError, require_choice

Record = str | Mapping[str, Any]
Turns = Sequence[tuple[str, str]]
Render = Callable[[Turns], Example]

_ROLES = {
    **{"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"},
    **{"human": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant", "model": "assistant"},
    **{"function": "tool", "observation": "tool", "developer": "system"},
}
_HEADS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}
_PAIRS = (("prompt", "completion", ""), ("question", "answer", "\n"))


def plain_turns(turns: Turns) -> Example:
    r"""A conversation in plain words: '### Role:', a newline, the words, a blank line; assistant words count.

    The blank line after an answer counts too: it is how a model without special tokens ends its turn.

    >>> plain_turns([("user", "Hi"), ("assistant", "Hello")]).segments
    (('### User:\nHi\n\n### Assistant:\n', False), ('Hello', True))
    """
    segments: list[tuple[str, bool]] = []
    held = ""
    last = len(turns) - 1
    for place, (role, content) in enumerate(turns):
        held += f"### {_HEADS[role]}:\n"
        end = "" if place == last else "\n\n"
        if role == "assistant":
            segments += [(held, False), (content + end, True)]
            held = ""
        else:
            held += content + end
    return Example(tuple(segments))


def chat_turns(tokenizer: Any) -> Render:
    """A renderer that uses the tokenizer's own chat template; what the assistant writes counts.

    Args:
        tokenizer: a transformers tokenizer with a chat template.

    Returns:
        A function from turns to an Example; turns after the last answer are left out.
    """

    def words(turns: Turns, prompt: bool) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))

    def render(turns: Turns) -> Example:
        segments: list[tuple[str, bool]] = []
        done = ""
        for place in (i for i, (role, _) in enumerate(turns) if role == "assistant"):
            for text, counts in ((words(turns[:place], True), False), (words(turns[: place + 1], False), True)):
                if not text.startswith(done):
                    raise DataError(
                        "the tokenizer's chat template must only add to earlier turns; it rewrites them, so the "
                        "answers cannot be told apart. Set tokenizer.chat_template = None for plain role headings"
                    )
                segments.append((text[len(done) :], counts))
                done = text
        return Example(tuple(segments))

    return render


def _content(value: Any) -> str:
    if isinstance(value, list):
        return "".join(str(part.get("text", "")) if isinstance(part, Mapping) else str(part) for part in value)
    return "" if value is None else str(value)


def _turns(raw: Any, role_key: str, content_key: str) -> Turns:
    if not isinstance(raw, Sequence) or not all(isinstance(m, Mapping) and role_key in m for m in raw):
        raise DataError(
            f"a conversation must be a list of objects with {role_key!r} and {content_key!r}; got {raw!r:.80}"
        )
    turns = []
    for message in raw:
        role = str(message[role_key]).lower()
        if role not in _ROLES:
            raise DataError(f"{role_key!r} of a turn must be one of {', '.join(_ROLES)}; got {message[role_key]!r}")
        turns.append((_ROLES[role], _content(message.get(content_key))))
    return turns


def _text(record: Record, render: Render) -> Example:
    return Example(((record if isinstance(record, str) else _content(record["text"]), True),))


def _alpaca(record: Record, render: Render) -> Example:
    assert not isinstance(record, str)
    given = _content(record.get("input")).strip()
    # Some releases of the data write the word instead of leaving the field empty.
    given = "" if given.lower() == "<noinput>" else given
    head = "Below is a task with some input to it." if given else "Below is a task."
    parts = [
        f"{head} Write an answer that does what is asked.",
        f"### Instruction:\n{_content(record['instruction'])}",
    ]
    parts += [f"### Input:\n{given}"] if given else []
    return Example((("\n\n".join([*parts, "### Response:\n"]), False), (_content(record["output"]), True)))


def _messages(record: Record, render: Render) -> Example:
    assert not isinstance(record, str)
    return render(_turns(record["messages"], "role", "content"))


def _sharegpt(record: Record, render: Render) -> Example:
    assert not isinstance(record, str)
    return render(_turns(record["conversations"], "from", "value"))


def _prompt_completion(record: Record, render: Render) -> Example:
    assert not isinstance(record, str)
    first, second, between = next(pair for pair in _PAIRS if pair[0] in record and pair[1] in record)
    return Example(((_content(record[first]) + between, False), (_content(record[second]), True)))


# name -> (the field sets that tell it, the conversion); the first match wins.
_LAYOUTS: dict[str, tuple[tuple[frozenset[str], ...], Callable[[Record, Render], Example]]] = {
    "messages": ((frozenset({"messages"}),), _messages),
    "sharegpt": ((frozenset({"conversations"}),), _sharegpt),
    "alpaca": ((frozenset({"instruction", "output"}),), _alpaca),
    "prompt_completion": (tuple(frozenset(pair[:2]) for pair in _PAIRS), _prompt_completion),
    "text": ((frozenset({"text"}),), _text),
}


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


def to_example(record: Record, layout: str = "auto", render: Render = plain_turns) -> tuple[Example, str]:
    """One record as an Example, with the layout it was read by.

    Args:
        record: a line of text or a mapping of fields.
        layout: a layout name, or auto.
        render: how a conversation becomes text.

    Returns:
        The example and the name of its layout.

    Raises:
        DataError: where the record's fields fit no layout, or not the one asked for.

    >>> to_example({"prompt": "2+2=", "completion": "4"})
    (Example(segments=(('2+2=', False), ('4', True))), 'prompt_completion')
    """
    require_choice("format", layout, ["auto", *_LAYOUTS])
    found = detect(record) if layout == "auto" else layout if _fits(record, layout) else None
    if found is None:
        fields = (
            "a line of text" if isinstance(record, str) else f"the fields {', '.join(map(str, record)) or '(none)'}"
        )
        wanted = _LAYOUTS if layout == "auto" else [layout]
        known = "; ".join(f"{n}: {' or '.join(' + '.join(sorted(f)) for f in _LAYOUTS[n][0])}" for n in wanted)
        raise DataError(f"a record must have the fields of a known layout ({known}); got {fields}. Rename the fields")
    return _LAYOUTS[found][1](record, render), found
