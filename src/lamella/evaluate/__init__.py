"""Measure: methods side by side on cases with a known truth, in a way that flatters none of them."""

from lamella.evaluate.run import Evaluated, evaluate
from lamella.evaluate.settings import EvaluationSettings

__all__ = ["Evaluated", "EvaluationSettings", "evaluate"]
