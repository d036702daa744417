"""The five terms of ReCoNet's objective, each written once over ``ops``."""

from engine import Loss, hookimpl
from engine_losses.content import ContentLoss
from engine_losses.feature_temporal import FeatureTemporalLoss
from engine_losses.output_temporal import OutputTemporalLoss
from engine_losses.style import StyleLoss
from engine_losses.total_variation import TotalVariationLoss


@hookimpl
def engine_register_losses() -> list[type[Loss]]:
    """The losses of this plugin."""
    return [ContentLoss, StyleLoss, TotalVariationLoss, FeatureTemporalLoss, OutputTemporalLoss]
