"""How a conversation becomes text: role headings, or the tokenizer's own chat template; answers count."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from qpeft.data.examples import Example
from qpeft.data.told import UNANSWERED, UNREAD, UNREAD_TURN, Told
from qpeft.data.turns import WRITTEN, Chat, Turn
from qpeft.errors import DataError

Render = Callable[[Chat, Told], Example]
Segments = list[tuple[str, bool]]

_HEADS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
_PLAIN = "Set data.template: plain for role headings"


def plain_turns(chat: Chat, told: Told) -> Example:
    r"""A conversation in plain words: '### Role:', a newline, the words, a blank line; assistant words count.

    The blank line after an answer counts too: it is how a model without special tokens ends its turn.

    Raises:
        DataError: it holds tools or calls of tools, for which there is no plain form.

    >>> plain_turns(Chat((Turn("user", "Hi"), Turn("assistant", "Hello", True))), Told()).segments
    (('### User:\nHi\n\n### Assistant:\n', False), ('Hello', True))
    """
    if chat.tools or any("tool_calls" in turn.extra for turn in chat.turns):
        raise DataError(
            "tools and calls of tools are written by a tokenizer's chat template, and there is none here. "
            "Use a chat model that calls tools, or leave the row out"
        )
    if chat.options:
        told.add(UNREAD, "chat_template_kwargs")
    segments: Segments = []
    held = ""
    turns = _answered(chat, told)
    for place, turn in enumerate(turns):
        for name in turn.extra:
            told.add(UNREAD_TURN, name)
        held += f"### {_HEADS[turn.role]}:\n"
        end = "" if place == len(turns) - 1 else "\n\n"
        if turn.role == "assistant":
            segments += [(held, False), (turn.content + end, turn.learned)]
            held = ""
        else:
            held += turn.content + end
    return Example(tuple(segments))


def closers(tokenizer: Any) -> dict[int, str]:
    """The tokens that can close a text, id -> text: the end token, and special tokens that end a turn."""
    eos = tokenizer.eos_token_id
    others = {tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id} - {eos}
    added = {place: token.content for place, token in tokenizer.added_tokens_decoder.items() if token.special}
    return {place: text for place, text in added.items() if place not in others} | {eos: tokenizer.eos_token}


def chat_turns(tokenizer: Any) -> Render:
    """A renderer that uses the tokenizer's own chat template; what the assistant writes counts, to its end token.

    What counts of an answer is what the template adds to the conversation before it with the generation prompt.
    Where a template rewrites earlier turns, its own ``{% generation %}`` marks say it, if it has them; else an answer
    goes from the prompt before it to the end token after its words.

    Args:
        tokenizer: a transformers tokenizer with a chat template.

    Returns:
        A function from a Chat to an Example; turns after the last answer are left out, and told.
    """
    ends = sorted(filter(None, closers(tokenizer).values()), key=len, reverse=True)
    close = re.compile(f"(?:{'|'.join(map(re.escape, ends))})") if ends else re.compile(r"(?!)")

    def render(chat: Chat, told: Told) -> Example:
        turns = _answered(chat, told)
        if not turns:
            return Example((), whole=True)
        chat = replace(chat, turns=turns)
        segments = _by_prefix(tokenizer, chat) or _by_marks(tokenizer, chat) or _by_prompts(tokenizer, chat, close)
        if segments is None:
            raise DataError(
                "the tokenizer's chat template must only add to earlier turns, or mark answers by {% generation %}; "
                f"it rewrites them, and the answers cannot be told apart. {_PLAIN}"
            )
        _check(tokenizer, chat, "".join(text for text, _ in segments), told)
        return Example(tuple(_tidy(segments, close)), whole=True)

    return render


def _answered(chat: Chat, told: Told) -> tuple[Turn, ...]:
    last = max((place for place, turn in enumerate(chat.turns) if turn.role == "assistant"), default=-1)
    if last + 1 < len(chat.turns):
        told.add(UNANSWERED)
    return chat.turns[: last + 1]


def _written(tokenizer: Any, chat: Chat, turns: Sequence[Turn], **options: Any) -> Any:
    tools = {"tools": [*chat.tools]} if chat.tools else {}
    messages = [turn.message for turn in turns]
    try:
        return tokenizer.apply_chat_template(messages, **{**chat.options, **tools, "tokenize": False, **options})
    except Exception as error:  # a template raises what it likes, and so does jinja
        raise DataError(
            f"the tokenizer's chat template refuses the conversation: {str(error) or type(error).__name__}. "
            f"Change the row, or use a model whose template takes it. {_PLAIN}"
        ) from error


def _by_prefix(tokenizer: Any, chat: Chat) -> Segments | None:
    segments: Segments = []
    done = ""
    for place, turn in enumerate(chat.turns):
        if turn.role == "assistant":
            prompt = _written(tokenizer, chat, chat.turns[:place], add_generation_prompt=True)
            upto = _written(tokenizer, chat, chat.turns[: place + 1], add_generation_prompt=False)
            for text, counts in ((prompt, False), (upto, turn.learned)):
                if not text.startswith(done):
                    return None
                segments.append((text[len(done) :], counts))
                done = text
    return segments


def _by_marks(tokenizer: Any, chat: Chat) -> Segments | None:
    """Where a template marks what the assistant writes: the marks, and an end token right after them."""
    if not _MARKS.search(str(tokenizer.chat_template)):
        return None
    options = {"return_dict": True, "return_assistant_tokens_mask": True}
    wanted = {"tokenize": True, "tokenizer_kwargs": {"return_offsets_mapping": True}}
    text = _written(tokenizer, chat, chat.turns, add_generation_prompt=False)
    coded = _written(tokenizer, chat, chat.turns, add_generation_prompt=False, **options, **wanted)
    spans = [*_spans(coded["assistant_masks"], coded["offset_mapping"])]
    learned = [turn.learned for turn in chat.turns if turn.role == "assistant"]
    if len(spans) != len(learned):
        return None
    segments: Segments = []
    done = 0
    for (start, stop), counts in zip(spans, learned, strict=True):
        end = stop + len(tokenizer.eos_token) * text.startswith(tokenizer.eos_token, stop)
        segments += [(text[done:start], False), (text[start:end], counts)]
        done = end
    return [*segments, (text[done:], False)]


def _by_prompts(tokenizer: Any, chat: Chat, close: re.Pattern[str]) -> Segments | None:
    """Where a template writes last answers in another way than earlier ones: from the prompt to the end token."""
    text = _written(tokenizer, chat, chat.turns, add_generation_prompt=False)
    segments: Segments = []
    done, ends = 0, set()
    for place, turn in enumerate(chat.turns):
        if turn.role == "assistant":
            prompt = _written(tokenizer, chat, chat.turns[:place], add_generation_prompt=True)
            words = turn.content.strip()
            at = text.find(words, len(prompt)) if text.startswith(prompt) and len(prompt) >= done else -1
            end = close.search(text, at + len(words)) if at >= 0 else None
            if end is None:
                return None
            ends.add(end[0])
            segments += [(text[done : len(prompt)], False), (text[len(prompt) : end.end()], turn.learned)]
            done = end.end()
    # After the last answer only an end token can come; another token after an earlier one begins the next turn.
    return [*segments, (text[done:], False)] if len(ends) == 1 else None


def _spans(mask: Sequence[int], offsets: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The characters of each run of marked tokens."""
    run: list[tuple[int, int]] = []
    for marked, span in zip([*mask, 0], [*offsets, (0, 0)], strict=True):
        if marked:
            run.append(span)
        elif run:
            yield run[0][0], run[-1][1]
            run = []


def _check(tokenizer: Any, chat: Chat, text: str, told: Told) -> None:
    """Refuse what the template leaves out: rendered without it, the text would be the same."""

    def same(**changed: Any) -> bool:
        other = replace(chat, **changed)
        try:
            return bool(_written(tokenizer, other, other.turns, add_generation_prompt=False) == whole)
        except DataError:
            return False

    def without(place: int, **changed: Any) -> tuple[Turn, ...]:
        turns = chat.turns
        return (*turns[:place], replace(turns[place], **changed), *turns[place + 1 :])

    whole = text
    if chat.tools and same(tools=()):
        raise DataError("the tokenizer's chat template does not write tools; use a model that calls tools")
    for place, turn in enumerate(chat.turns):
        words = turn.content.strip()
        if words and words not in text and same(turns=without(place, content="")):
            raise DataError(
                f"the tokenizer's chat template leaves out what turn {place + 1} ({turn.role}) says. {_PLAIN}"
            )
        for name in turn.extra:
            if same(turns=without(place, extra={k: v for k, v in turn.extra.items() if k != name})):
                if name not in WRITTEN:
                    raise DataError(
                        f"the tokenizer's chat template does not write the call of a tool in turn {place + 1}; "
                        "use a model that calls tools"
                    )
                told.add(UNREAD_TURN, name)


def _tidy(segments: Segments, close: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """Let each answer end with its end token: it counts, and the white space after it does not."""
    tail = re.compile(rf"({close.pattern})(\s+)\Z")
    joined = "".join(text for text, _ in segments)
    # The last text, which nothing follows, ends right there.
    over = len(match[2]) if (match := tail.search(joined)) else 0
    rest = len(joined) - over
    parts: Segments = []
    for text, counts in segments:
        found = tail.search(text) if counts else None
        parts += [(text[: found.end(1)], True), (found[2], False)] if found else [(text, counts)]
    for text, counts in parts:
        if kept := text[:rest]:
            yield kept, counts
        rest -= len(kept)
