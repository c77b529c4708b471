"""Every token gets the row of its position: whatever is cached, padded, packed, sliced or asked back."""

from typing import Any

import peft
import pytest
import torch

from qpeft.tuners.headprefix import HeadPrefixConfig, HeadPrefixDelta
from qpeft.tuners.headprefix.layer import positions_of
from tiny_families import FAMILIES, tiny_family

ROWS = 9


@pytest.fixture
def model(llama: Any) -> Any:
    """A table of 9 rows; the ids have 12 positions."""
    return peft.get_peft_model(llama, HeadPrefixConfig(num_positions=ROWS, init_weights=False)).eval()


def table_of(model: Any) -> torch.Tensor:
    table: torch.Tensor = model.base_model.model.model.deltas["default"].table
    return table


def expected(model: Any, positions: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Logits of the base model's hidden states plus the rows, by a loop over tokens."""
    with model.disable_adapter():
        hidden = model.base_model.model.model(*args, **kwargs).last_hidden_state.clone()
    for row in range(hidden.shape[0]):
        for place in range(hidden.shape[1]):
            position = int(positions[row % len(positions), place])
            if 0 <= position < ROWS:
                hidden[row, place] += table_of(model)[position]
    logits: torch.Tensor = model.base_model.model.lm_head(hidden)
    return logits


def test_rows_of_positions() -> None:
    delta = HeadPrefixDelta(HeadPrefixConfig(num_positions=4, init_weights=False), 3)
    rows = delta(torch.tensor([[3, 0, 4], [-1, 2, 1]]))
    zero = torch.zeros(3)
    expected = torch.stack([delta.table[3], delta.table[0], zero, zero, delta.table[2], delta.table[1]])
    assert torch.equal(rows, expected.view(2, 3, 3))


def test_the_table_is_added_before_the_head_and_ends_where_it_ends(model: Any, ids: torch.Tensor) -> None:
    logits = model(ids).logits
    torch.testing.assert_close(logits, expected(model, torch.arange(12)[None], ids))
    with model.disable_adapter():
        assert torch.equal(logits[:, ROWS:], model(ids).logits[:, ROWS:])


def test_embeddings_in_place_of_ids(model: Any, ids: torch.Tensor) -> None:
    embedded = model.get_input_embeddings()(ids)
    assert torch.equal(model(inputs_embeds=embedded).logits, model(ids).logits)


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_cache_moves_the_positions_on(model: Any, ids: torch.Tensor, cut: int) -> None:
    whole = model(ids).logits
    first = model(ids[:, :cut], use_cache=True)
    second = model(ids[:, cut:], past_key_values=first.past_key_values, use_cache=True)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], dim=1), whole)


@pytest.mark.parametrize("implementation", ["dynamic", "static"])
def test_every_cache_generates_the_same(model: Any, ids: torch.Tensor, implementation: str) -> None:
    ids = ids[:, :4]
    more = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
    plain = model.generate(ids, use_cache=False, **more)
    assert torch.equal(model.generate(ids, cache_implementation=implementation, **more), plain)


def test_given_positions_hold(model: Any, ids: torch.Tensor) -> None:
    packed = torch.tensor([[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]])
    logits = model(ids, position_ids=packed).logits
    torch.testing.assert_close(logits, expected(model, packed, ids, position_ids=packed))
    # By place rather than by name.
    body = model.base_model.model.model
    assert torch.equal(body(ids, None, packed)[0], body(ids, position_ids=packed)[0])


def test_padding_is_not_counted(model: Any, ids: torch.Tensor) -> None:
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[0, :5], mask[1, 9:] = 0, 0
    positions = torch.stack([torch.cat([-torch.ones(5), torch.arange(7)]), torch.arange(12.0)]).long()
    positions[1, 9:] = 8
    logits = model(ids, attention_mask=mask).logits
    torch.testing.assert_close(logits, expected(model, positions, ids, attention_mask=mask))
    # What follows a padded batch in the cache is counted from its own text, too.
    first = model(ids[:, :7], attention_mask=mask[:, :7], use_cache=True)
    second = model(ids[:, 7:], attention_mask=mask, past_key_values=first.past_key_values)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], dim=1)[mask > 0], logits[mask > 0])


def greedy(model: Any, ids: torch.Tensor, **more: Any) -> torch.Tensor:
    tokens: torch.Tensor = model.generate(ids, max_new_tokens=4, min_new_tokens=4, do_sample=False, **more)
    return tokens[:, -4:]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_s_tokens_get_their_own_rows(family: str, ids: torch.Tensor) -> None:
    """Some families are given positions by ``generate``, some only a mask, and every one has a cache of its own."""
    config = HeadPrefixConfig(num_positions=ROWS, init_weights=False)
    model = peft.get_peft_model(FAMILIES[family]().eval(), config).eval()
    whole, first = model(ids).logits, model(ids[:, :5], use_cache=True)
    second = model(ids[:, 5:], past_key_values=first.past_key_values).logits
    torch.testing.assert_close(torch.cat([first.logits, second], dim=1), whole, atol=1e-4, rtol=1e-4)
    short, long = ids[:1, :3], ids[1:, :6]
    single = torch.cat([greedy(model, short), greedy(model, long, use_cache=False)])
    padded = torch.cat([torch.cat([short.new_zeros(1, 3), short], dim=1), long])
    assert torch.equal(greedy(model, padded, attention_mask=(padded > 0).long()), single)


def test_a_table_is_as_wide_as_what_the_head_reads(ids: torch.Tensor) -> None:
    """OPT-350m projects its hidden states before the head."""
    base = tiny_family("opt", do_layer_norm_before=False, word_embed_proj_dim=16)
    model = peft.get_peft_model(base, HeadPrefixConfig(num_positions=ROWS))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == ROWS * 16
    assert model(ids).logits.isfinite().all()


def test_families_with_positions_for_several_axes_count_the_first() -> None:
    axes = torch.tensor([[[0, 1]], [[5, 5]], [[7, 7]]])
    hidden = torch.zeros(1, 2, 4)
    assert positions_of({"position_ids": axes}, 0, hidden).tolist() == [[0, 1]]
    # A mask of another rank says nothing about the text.
    assert positions_of({"attention_mask": torch.ones(1, 1, 2, 5)}, 3, hidden).tolist() == [3, 4]


def test_only_some_logits_are_those_of_their_positions(model: Any, ids: torch.Tensor) -> None:
    whole = model(ids).logits
    torch.testing.assert_close(model(ids, logits_to_keep=5).logits, whole[:, -5:])
    torch.testing.assert_close(model(ids, logits_to_keep=torch.tensor([2, 7])).logits, whole[:, [2, 7]])


def test_the_kind_of_the_output_is_the_body_s(model: Any, ids: torch.Tensor) -> None:
    out = model(ids, output_hidden_states=True, output_attentions=False)
    assert torch.equal(model(ids, return_dict=False)[0], out.logits)
    body = model.base_model.model.model
    assert isinstance(body(ids, return_dict=False), tuple)
    assert torch.equal(body(ids, return_dict=False)[0], body(ids).last_hidden_state)
    # The last of the hidden states is what the head reads, as without the table.
    assert torch.equal(model.get_output_embeddings()(out.hidden_states[-1]), out.logits)
    assert len(out.hidden_states) == 3
