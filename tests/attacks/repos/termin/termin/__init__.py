"""Recurring dates."""

from termin.parse import RuleError, every
from termin.rules import Rule, between, first
from termin.steps import add_months, add_years

__all__ = ["Rule", "RuleError", "add_months", "add_years", "between", "every", "first"]
