"""The readers, in the order in which they are tried on a row whose reader was not named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from heedful.config.suggest import did_you_mean
from heedful.examples.conversation import RowError, SkipRow
from heedful.examples.readers import (
    alpaca,
    atomic,
    documents,
    halos,
    hh,
    knowledge,
    lol,
    oasst,
    own,
    reddit,
    safe_rlhf,
    scored,
    shp,
    stack_exchange,
    trl,
    ultra,
)
from heedful.examples.readers.reader import Reader
from heedful.examples.readers.user import load_user_reader
from heedful.examples.rows import Row
from heedful.types import UserError

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        own.OWN,
        documents.DOCUMENTS,
        hh.SCORED,
        hh.RAW,
        safe_rlhf.PKU,
        safe_rlhf.RAW_SAMPLE,
        shp.SHP,
        oasst.OASST,
        oasst.OASST_EN,
        halos.HALOS,
        ultra.BINARISED,
        ultra.ARMORM,
        ultra.ARMORM_ALL,
        ultra.CHAT,
        stack_exchange.STACK_EXCHANGE,
        lol.LOL,
        atomic.ATOMIC,
        reddit.REDDIT,
        knowledge.WIZARD,
        knowledge.FAITHDIAL,
        alpaca.ALPACA,
        scored.SCORED,
        trl.PREFERENCE,
        trl.UNPAIRED,
        trl.COMPLETION,
        trl.MODELLING,
        trl.PROMPT_ONLY,
    )
}

__all__ = ["READERS", "Reader", "RowError", "SkipRow", "detect", "find", "registry"]


def registry(user_readers: Iterable[str] = ()) -> dict[str, Reader]:
    """The built-in readers and the user's (`FILE.py:FUNCTION`), by name.

    Raises UserError if a user's function has the name of another reader.
    """
    readers = dict(READERS)
    for spec in user_readers:
        reader = load_user_reader(spec, detect)
        if reader.name in readers:
            raise UserError(f"readers: {spec!r}: there is a reader {reader.name!r} already; rename the function.")
        readers[reader.name] = reader
    return readers


def detect(row: Row, readers: Mapping[str, Reader] = READERS) -> Reader:
    """The first reader that reads rows with these columns; raises RowError saying why each declined."""
    reasons = []
    for reader in readers.values():
        reason = reader.declines(row)
        if reason is None:
            return reader
        if reader.rows is None:
            reasons.append(f"{reader.name}: {reason}")
    columns = ", ".join(map(str, row)) or "none"
    tried = "; ".join(reasons)
    raise RowError(
        f"no reader reads the columns {columns}; tried {tried}; rename columns, or write a reader (readers=)"
    )


def find(name: str, readers: Mapping[str, Reader]) -> Reader:
    """The reader of that name; raises UserError with the nearest one."""
    if name not in readers:
        raise UserError(f"no reader is called {name!r}{did_you_mean(name, readers)} (there are: {', '.join(readers)}).")
    return readers[name]
