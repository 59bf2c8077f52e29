"""Repair operators: each takes a node or a statement of a suspicious place and yields small edits of it.

Every operator is general: a kind of mistake that people make in any program. None knows a particular bug.
"""

from __future__ import annotations

from agent.models.repair.operators import analogy, calls, conditions, statements, texts, values
from agent.models.repair.operators.base import Operator, StatementOperator

NODE_OPERATORS: tuple[Operator, ...] = (
    conditions.comparison,
    conditions.boolean,
    conditions.negation,
    conditions.none_check,
    conditions.extend,
    values.constant,
    values.arithmetic,
    values.off_by_one,
    values.modulus,
    values.other_name,
    values.subscript,
    values.fallback,
    values.branch,
    calls.arguments,
    calls.through,
    calls.bare,
    calls.method,
    calls.isinstance_types,
    texts.string,
    texts.pattern,
    texts.flags,
    analogy.analogous,
    analogy.same_call,
)

STATEMENT_OPERATORS: tuple[StatementOperator, ...] = (
    statements.guard,
    statements.conditional,
    statements.delete,
    statements.copy,
    statements.move,
    statements.catch,
    statements.give_back,
    statements.normalise,
)
