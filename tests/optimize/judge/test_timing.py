from __future__ import annotations

import torch

from optimize.judge.timing import Latency, alternate


def test_calls_take_turns_on_one_thread_and_warm_up_is_apart() -> None:
    seen: list[tuple[str, int]] = []
    threads = torch.get_num_threads()

    def call(name: str) -> object:
        return lambda number: seen.append((name, number)) or seen.append(("threads", torch.get_num_threads()))

    latency = alternate({"a": call("a"), "b": call("b")}, rounds=3, warmup=2)  # type: ignore[dict-item]
    assert [entry for entry in seen if entry[0] != "threads"] == [(n, i) for i in range(5) for n in ("a", "b")]
    assert {count for name, count in seen if name == "threads"} == {1}
    assert torch.get_num_threads() == threads
    assert [latency[name].rounds for name in ("a", "b")] == [3, 3]


def test_an_item_costs_what_it_takes_alone_and_in_a_batch() -> None:
    single, batched = Latency(2, 1, 3, 5), Latency(2, 1, 3, 5, item_ms_at_8=0.5)
    assert (single.cost_ms, batched.cost_ms) == (2, 1)
    assert "item_ms_at_8" not in single.as_dict()
    assert batched.as_dict() == {**single.as_dict(), "item_ms_at_8": 0.5}
