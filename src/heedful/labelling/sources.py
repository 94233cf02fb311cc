"""Which of the sources of responses is preferred: Bradley-Terry strengths from every single preference."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from heedful.labelling.aggregation import bradley_terry
from heedful.labelling.projects import Project
from heedful.labelling.tables import annotation_value, item, response

NORMAL_95 = 1.96


def strengths(connection: Connection, found: Project) -> list[dict[str, Any]]:
    """Of each source, the strongest first: strength (log-odds against the average source), its 95 % interval, games.

    Every labeller's preference is a game of two sources; a tie, and two bad responses, are half a win of each.  Empty
    where fewer than two sources met.
    """
    table, left, right = annotation_value.c, response.alias("left").c, response.alias("right").c
    asked = (
        select(left.source, right.source, table.num, func.count())
        .join_from(annotation_value, item, item.c.id == table.item_id)
        .join(left.id.table, (left.item_id == table.item_id) & (left.key == "r0"))
        .join(right.id.table, (right.item_id == table.item_id) & (right.key == "r1"))
        .where(table.project_id == found.id, table.question == "preference", left.source != right.source)
        .where(item.c.kind == "normal", item.c.state != "void")
        .group_by(left.source, right.source, table.num)
    )
    games = [(pair, num, count) for *pair, num, count in map(tuple, connection.execute(asked))]
    names = sorted({name for pair, _, _ in games for name in pair})
    if not names:
        return []
    wins = np.zeros((len(names), len(names)))
    for (first, second), num, count in games:
        a, b = names.index(first), names.index(second)
        share = {0.0: 1.0, 1.0: 0.0}.get(num, 0.5)
        wins[a, b] += share * count
        wins[b, a] += (1 - share) * count
    estimate = bradley_terry(wins)
    played = (wins + wins.T).sum(1)
    rows = [
        {
            "source": name,
            "strength": round(float(estimate.strength[number]), 4),
            "low": round(float(estimate.strength[number] - NORMAL_95 * estimate.error[number]), 4),
            "high": round(float(estimate.strength[number] + NORMAL_95 * estimate.error[number]), 4),
            "games": round(float(played[number])),
        }
        for number, name in enumerate(names)
    ]
    return sorted(rows, key=lambda row: (-row["strength"], row["source"]))
