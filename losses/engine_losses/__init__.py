"""The five terms of ReCoNet's objective, each written once over ``ops``."""

from engine import Loss, hookimpl
from engine_losses.content import Content
from engine_losses.feature_temporal import FeatureTemporal
from engine_losses.output_temporal import OutputTemporal
from engine_losses.style import Style
from engine_losses.total_variation import TotalVariation


@hookimpl
def engine_register_losses() -> list[type[Loss]]:
    """The losses of this plugin."""
    return [Content, Style, TotalVariation, FeatureTemporal, OutputTemporal]
