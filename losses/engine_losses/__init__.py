"""The five terms of ReCoNet's objective and others that users ask for, each written once over ``ops``."""

from engine import Loss, hookimpl
from engine_losses.colour_content import ColourContentLoss
from engine_losses.content import ContentLoss
from engine_losses.feature_difference import FeatureDifferenceLoss
from engine_losses.feature_temporal import FeatureTemporalLoss
from engine_losses.frame_difference import FrameDifferenceLoss
from engine_losses.long_term_temporal import LongTermTemporalLoss
from engine_losses.moments import MomentsLoss
from engine_losses.noise_stability import NoiseStabilityLoss
from engine_losses.output_temporal import OutputTemporalLoss
from engine_losses.style import StyleLoss
from engine_losses.total_variation import TotalVariationLoss


@hookimpl
def engine_register_losses() -> list[type[Loss]]:
    """The losses of this plugin."""
    return [
        ContentLoss,
        StyleLoss,
        TotalVariationLoss,
        FeatureTemporalLoss,
        OutputTemporalLoss,
        FrameDifferenceLoss,
        FeatureDifferenceLoss,
        NoiseStabilityLoss,
        LongTermTemporalLoss,
        MomentsLoss,
        ColourContentLoss,
    ]
