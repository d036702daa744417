"""The loss keeps the contract of losses, for each highest moment; and its moments are NumPy's."""

import numpy as np
import pytest
from moments_loss import ChannelMoments, moments

from engine.testing import LossContract, OracleOps, PluginHost


class TestChannelMoments(LossContract):
    """As it is."""

    component = ChannelMoments


class TestMeanAlone(LossContract):
    """The lowest order, one layer."""

    component = ChannelMoments
    settings = {"order": 1, "layers": ["relu2_2"]}


@pytest.mark.parametrize("order", [1, 2, 3])
def test_moments_are_those_of_numpy(order: int) -> None:
    x = np.random.default_rng(0).gamma(2.0, size=(2, 3, 20, 30))
    deviation = np.sqrt(x.var(axis=(2, 3)) + 1e-5)
    score = (x - x.mean(axis=(2, 3), keepdims=True)) / deviation[..., None, None]
    wanted = [x.mean(axis=(2, 3)), deviation, (score**3).mean(axis=(2, 3))]
    np.testing.assert_allclose(moments(OracleOps(), x, order), np.concatenate(wanted[:order], axis=1), rtol=1e-9)


def test_the_engine_finds_it(engine_host: PluginHost) -> None:
    assert engine_host.get("loss", "channel_moments") is ChannelMoments
