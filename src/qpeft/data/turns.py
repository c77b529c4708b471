"""Conversations as read from records: turns, which answers are learned, calls of tools and the tools themselves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qpeft.data.told import UNREAD_TURN, Told
from qpeft.data.values import blank, opened, words
from qpeft.errors import DataError, nearest

ROLES = {
    **{"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"},
    **{"human": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant", "model": "assistant"},
    **{"function": "tool", "observation": "tool", "developer": "system", "function_call": "assistant"},
}
# What other tools call the flag of a turn that is, or is not, to be learned.
_FLAGS = ("weight", "train", "training", "loss")
# Fields that a chat template may write; whether it does is seen when it is used.
WRITTEN = ("name", "tool_call_id", "reasoning_content", "reasoning", "thinking")
_REFUSED = ("train_detail", "training_detail", "images", "image", "videos", "video", "audios", "audio")
_ROLE, _CONTENT = ("role", "from"), ("content", "value")
_READ = {"role", "from", "content", "value", "tool_calls", "function_call", *_FLAGS, *WRITTEN}


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation.

    Attributes:
        role: system, user, assistant or tool.
        content: its words.
        learned: whether its tokens count in the loss; true of answers that say something and are not weighted 0.
        extra: tool_calls and the other fields that a chat template may write.
    """

    role: str
    content: str
    learned: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> dict[str, Any]:
        """The turn as `apply_chat_template` takes it."""
        return {"role": self.role, "content": self.content, **self.extra}


@dataclass(frozen=True)
class Chat:
    """A conversation.

    Attributes:
        turns: in their order.
        tools: JSON schemas of what the assistant may call.
        options: further variables of the chat template, such as enable_thinking.
    """

    turns: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def read_turns(raw: Any, told: Told, key: str = "messages", learned: bool = True) -> tuple[Turn, ...]:
    """The turns of a list of objects with role and content, or from and value.

    Args:
        raw: the list, or its JSON text.
        told: counts fields of turns that are not read.
        key: the field's name, for errors.
        learned: whether answers count in the loss; those of a prompt do not.

    Raises:
        DataError: it is no such list, or a turn holds what cannot be used.
    """
    raw = opened(raw, key)
    told_by = ("from", "value") if key == "conversations" else ("role", "content")
    if not is_conversation(raw):
        raise DataError(
            f"a conversation must be a list of objects with {told_by[0]!r} and {told_by[1]!r}; got {raw!r:.80}"
        )
    return tuple(_turn(message, told, learned) for message in raw)


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of objects that each have a role."""
    return isinstance(value, list | tuple) and all(
        isinstance(part, Mapping) and ("role" in part or "from" in part) for part in value
    )


def read_history(raw: Any, told: Told) -> tuple[Turn, ...]:
    """Earlier rounds, each a pair of words and answer; the answers are learned, too.

    Raises:
        DataError: it is no list of pairs.
    """
    rounds = [] if blank(raw) else opened(raw, "history")
    if not isinstance(rounds, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in rounds):
        raise DataError(f"'history' must be a list of pairs, words and answer; got {raw!r:.80}")
    turns: list[Turn] = []
    for asked, answered in rounds:
        turns += [Turn("user", words(asked, "history", told)), answer(words(answered, "history", told))]
    return tuple(turns)


def answer(content: str, learned: bool = True, **extra: Any) -> Turn:
    """An assistant's turn; one that says nothing is not learned."""
    return Turn("assistant", content, learned and bool(content.strip() or extra), extra)


def read_tools(raw: Any, key: str = "tools") -> tuple[Mapping[str, Any], ...]:
    """Schemas of tools; bare function objects are wrapped as the templates expect.

    Args:
        raw: a list of objects, or its JSON text.
        key: the field's name, for errors.

    Raises:
        DataError: it is no list of objects.
    """
    tools = [] if blank(raw) else opened(raw, key)
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, Mapping) for tool in tools):
        raise DataError(f"{key!r} must be a list of JSON schemas of functions; got {raw!r:.80}")
    return tuple({"type": "function", "function": tool} if _bare(tool) else tool for tool in tools)


def _bare(tool: Mapping[str, Any]) -> bool:
    return "name" in tool and "function" not in tool and tool.get("type", "function") == "function"


def _turn(message: Mapping[str, Any], told: Told, learned: bool) -> Turn:
    role_key, content_key = (next((k for k in pair if k in message), "") for pair in (_ROLE, _CONTENT))
    word = str(message[role_key])
    if word.lower() not in ROLES:
        raise DataError(
            f"{role_key!r} of a turn must be one of {', '.join(ROLES)}; got {word!r}{nearest(word.lower(), ROLES)}"
        )
    role, content, calls = ROLES[word.lower()], message.get(content_key), _calls(message)
    if not content_key and not calls and blank(message.get("reasoning_content")):
        raise DataError(f"a turn must have 'content' or 'value'; got the fields {', '.join(map(str, message))}")
    if word.lower() == "function_call":
        calls, content = [*calls, *_bare_calls(content)], None
    for name in (name for name in message if not blank(message[name])):
        if name in _REFUSED:
            raise DataError(f"{name!r} of a turn cannot be used here; only text is read. Remove it, or the row")
        if name not in _READ:
            told.add(UNREAD_TURN, str(name))
    extra = {name: message[name] for name in WRITTEN if not blank(message.get(name))}
    extra |= {"tool_calls": calls} if calls else {}
    wanted = _wanted(message)
    if role == "assistant":
        says = any(name in extra for name in ("tool_calls", "reasoning_content", "reasoning", "thinking"))
        text = _content(content, content_key, told)
        return Turn(role, text, learned and wanted is not False and bool(text.strip() or says), extra)
    if calls:
        raise DataError(f"only the assistant calls tools; a turn of {word!r} holds a call. Correct its {role_key!r}")
    if wanted:
        told.add(UNREAD_TURN, f"a weight of a turn of {role!r}, of which only answers have one")
    return Turn(role, _content(content, content_key, told), extra=extra)


def _wanted(message: Mapping[str, Any]) -> bool | None:
    flags = {name: message[name] for name in _FLAGS if not blank(message.get(name))}
    for name, value in flags.items():
        if not isinstance(value, int | float) or value not in (0, 1):
            raise DataError(f"{name!r} of a turn must be 0 or 1, false or true; got {value!r}. Nothing lies between")
    return all(flags.values()) if flags else None


def _content(value: Any, key: str, told: Told) -> str:
    if not isinstance(value, list | tuple):
        return words(value, key, told)
    parts = []
    for part in value:
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        text = part.get("text") if isinstance(part, Mapping) else part
        if kind != "text" or not isinstance(text, str):
            raise DataError(f"the parts of a turn's {key!r} must be text; got one of type {kind!r}: {part!r:.60}")
        parts.append(text)
    return "".join(parts)


def _calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of a turn as templates take them: arguments as an object, not as its JSON text."""
    raw = message.get("tool_calls")
    calls = [] if blank(raw) else opened(raw, "tool_calls")
    old = message.get("function_call")
    calls = calls if blank(old) else [*calls, old]
    if not isinstance(calls, list | tuple):
        raise DataError(f"'tool_calls' of a turn must be a list of calls; got {raw!r:.80}")
    return [_call(call) for call in calls]


def _bare_calls(content: Any) -> list[dict[str, Any]]:
    value = opened(content, "value")
    return [_call(call) for call in (value if isinstance(value, Sequence) and not isinstance(value, str) else [value])]


def _call(call: Any) -> dict[str, Any]:
    call = opened(call, "function_call")
    inner = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise DataError(f"a call of a tool must be an object with 'name' and 'arguments'; got {call!r:.80}")
    arguments = inner.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"'arguments' of the call of {inner['name']!r} must be JSON; got {arguments!r:.60}"
            ) from error
    given = {"id": call["id"]} if call.get("id") else {}
    function = {**inner, "arguments": {} if blank(arguments) else arguments}
    return {"type": "function", **given, "function": {k: v for k, v in function.items() if k not in ("id", "type")}}
