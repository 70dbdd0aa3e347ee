"""What an inference request asks, as the JSON of the REST protocol says it, with or without binary tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.errors import InvalidInputError, MalformedError, kind_of
from serving.expert.over_http import HEADER_LENGTH as HEADER_LENGTH
from serving.http.body import as_number, json_value
from serving.http.intake import bytes_stated
from serving.load.budget import check_budget_ms
from serving.oip.tensors import count_of, flat, unpacked

# An input's data, or a list of one element in it.
JSON_DEPTH = 4
REQUEST_KEYS = {"id", "parameters", "inputs", "outputs"}
INPUT_KEYS = {"name", "shape", "datatype", "parameters", "data"}
OUTPUT_KEYS = {"name", "parameters"}
PARAMETERS = {"budget_ms", "priority", "timeout", "binary_data_output"}
INPUT_PARAMETERS = {"binary_data_size", "content_type"}
OUTPUT_PARAMETERS = {"binary_data"}
# Triton's clients send a priority as a number, of which 1 is the highest and 0 is none.
HIGHEST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """An inference request, whichever way it came.

    `inputs` are the elements of BYTES by the name of the input: bytes, or strings where JSON held them. `outputs` says
    of each output that is asked for whether it is sent as bytes; None stands for all, as `binary` says. An empty `id`
    is none. `deadline_ms` is what is left of the time that the call has, whose protocol knows of deadlines.
    """

    id: str
    parameters: Mapping[str, object]
    inputs: Mapping[str, Sequence[object]]
    outputs: Mapping[str, bool] | None
    binary: bool
    deadline_ms: float | None = None

    @property
    def budget_ms(self) -> float | None:
        """The smallest of the deadline and the budgets that the parameters state; `timeout` is in microseconds."""
        stated = [] if self.deadline_ms is None else [self.deadline_ms]
        for name, in_one_ms in (("budget_ms", 1), ("timeout", 1_000)):
            value = self.parameters.get(name)
            if value is not None:
                field = f"parameters.{name}"
                number = as_number(value, field) if isinstance(value, str) else value
                whole = isinstance(number, int | float) and not isinstance(number, bool)
                stated.append(check_budget_ms(number / in_one_ms if whole else number, field))  # type: ignore[operator]
        return min(stated, default=None)

    @property
    def priority(self) -> object:
        """The priority that the parameters state, unchecked; None if they state none."""
        sent = self.parameters.get("priority")
        if isinstance(sent, int) and not isinstance(sent, bool):
            return "high" if sent == HIGHEST else "normal"
        return sent


async def read_request(data: bytes, header_length: str | None) -> InferRequest:
    """The request in a body, whose first `header_length` bytes are JSON where there are binary tensors behind it.

    Raises MalformedError or InvalidInputError for what is none.
    """
    if header_length is None:
        return _request(await json_value(data, JSON_DEPTH), None)
    end = bytes_stated(header_length)
    if end is None or not 0 < end <= len(data):
        raise MalformedError(
            HEADER_LENGTH,
            "must be the number of bytes of the JSON at the beginning of the body, got another number or none; send "
            "JSON there, also with binary tensors",
        )
    return _request(await json_value(data[:end], JSON_DEPTH), memoryview(data)[end:])


def no_other_keys(got: object, allowed: set[str], field: str) -> Mapping[str, object]:
    """`got`, if it is an object with no keys but those `allowed`. Raises InvalidInputError otherwise."""
    if not isinstance(got, Mapping):
        raise InvalidInputError(field, f"must be an object, got {kind_of(got)}; send {', '.join(sorted(allowed))}")
    if set(got) - allowed:
        raise InvalidInputError(
            field, f"may have the keys {', '.join(sorted(allowed))}, got others too; leave out what is none of them"
        )
    return got


def require_bytes(datatype: object, field: str) -> None:
    """Raise InvalidInputError unless an input has the datatype that all inputs here have."""
    if datatype != "BYTES":
        raise InvalidInputError(f"{field}.datatype", "must be BYTES, got another one; send texts or files as BYTES")


def only_once(name: object, names: Mapping[str, object], field: str) -> str:
    """The name of a tensor that is none of `names`. Raises InvalidInputError otherwise."""
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"{field}.name", "must be a string, got something else or none; name the tensor")
    if name in names:
        raise InvalidInputError(f"{field}.name", "must be there once, got it twice; leave one out")
    return name


def _request(value: object, tail: memoryview | None) -> InferRequest:
    whole = no_other_keys(value, REQUEST_KEYS, "body")
    sent_id = whole.get("id")
    if not isinstance(sent_id, str | None):
        raise InvalidInputError("id", f"must be a string, got {kind_of(sent_id)}; send one, or leave it out")
    parameters = _parameters(whole, PARAMETERS, "parameters")
    binary = _flag(parameters, "binary_data_output", "parameters")
    # An empty list asks for all of them, too.
    outputs = None if (asked := whole.get("outputs")) is None else _outputs(asked, binary) or None
    return InferRequest(
        id=sent_id or "",
        parameters=parameters,
        inputs=_inputs(whole.get("inputs"), tail),
        outputs=outputs,
        binary=binary,
    )


def _inputs(sent: object, tail: memoryview | None) -> dict[str, Sequence[object]]:
    inputs: dict[str, Sequence[object]] = {}
    at = 0
    for field, entry in _entries(sent, "inputs"):
        given = no_other_keys(entry, INPUT_KEYS, field)
        name = only_once(given.get("name"), inputs, field)
        require_bytes(given.get("datatype"), field)
        count = count_of(given.get("shape"), f"{field}.shape")
        parameters = _parameters(given, INPUT_PARAMETERS, f"{field}.parameters")
        size = parameters.get("binary_data_size")
        if size is None:
            inputs[name] = flat(given.get("data"), count, f"{field}.data")
            continue
        sized = f"{field}.parameters.binary_data_size"
        if tail is None or "data" in given or type(size) is not int or not 0 <= size <= len(tail) - at:
            raise MalformedError(
                sized,
                f"must be the number of this tensor's bytes behind the JSON, got another one, or data in the JSON too; "
                f"send the bytes, and the header {HEADER_LENGTH}",
            )
        inputs[name] = unpacked(tail[at : at + size], count, field)
        at += size
    if tail is not None and at != len(tail):
        raise MalformedError(
            "body", "must end with the last binary tensor, got more bytes; state binary_data_size for each input"
        )
    return inputs


def _outputs(sent: object, binary: bool) -> dict[str, bool]:
    outputs: dict[str, bool] = {}
    for field, entry in _entries(sent, "outputs"):
        given = no_other_keys(entry, OUTPUT_KEYS, field)
        name = only_once(given.get("name"), outputs, field)
        parameters = _parameters(given, OUTPUT_PARAMETERS, f"{field}.parameters")
        outputs[name] = _flag(parameters, "binary_data", f"{field}.parameters", binary)
    return outputs


def _entries(sent: object, field: str) -> list[tuple[str, object]]:
    if not isinstance(sent, list):
        raise MalformedError(field, f"must be a list, got {kind_of(sent)}; send a list of tensors")
    return [(f"{field}[{place}]", entry) for place, entry in enumerate(sent)]


def _parameters(of: Mapping[str, object], allowed: set[str], field: str) -> Mapping[str, object]:
    sent = of.get("parameters")
    return {} if sent is None else no_other_keys(sent, allowed, field)


def _flag(parameters: Mapping[str, object], name: str, field: str, default: bool = False) -> bool:
    value = parameters.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidInputError(f"{field}.{name}", f"must be true or false, got {kind_of(value)}; send one of them")
    return value
