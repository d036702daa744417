"""A style-transfer engine: models, losses, datasets and backends are plugins.

This is the whole public surface; plugins import from here (and from ``engine.testing``) and nowhere deeper.
Importing it loads nothing; a name loads the file that it comes from, and none loads a framework, OpenCV or PyAV.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import Field as Field

    from engine.augmentation import relight as relight
    from engine.components import Component as Component
    from engine.components import RecipePath as RecipePath
    from engine.contracts.backend import Backend as Backend
    from engine.contracts.backend import Painter as Painter
    from engine.contracts.backend import Precision as Precision
    from engine.contracts.backend import Trainer as Trainer
    from engine.contracts.backend import TrainingPlan as TrainingPlan
    from engine.contracts.dataset import Batch as Batch
    from engine.contracts.dataset import Dataset as Dataset
    from engine.contracts.dataset import Sample as Sample
    from engine.contracts.loss import Clip as Clip
    from engine.contracts.loss import Features as Features
    from engine.contracts.loss import Loss as Loss
    from engine.contracts.loss import Needs as Needs
    from engine.contracts.loss import Prepared as Prepared
    from engine.contracts.model import Layout as Layout
    from engine.contracts.model import Model as Model
    from engine.contracts.model import PublishedStyle as PublishedStyle
    from engine.contracts.model import WeightSource as WeightSource
    from engine.errors import BadSample as BadSample
    from engine.errors import EngineError as EngineError
    from engine.errors import RunError as RunError
    from engine.files import replacing as replacing
    from engine.flow import estimate_flow as estimate_flow
    from engine.flow import flow_colours as flow_colours
    from engine.flow import visible as visible
    from engine.flow import warp as warp
    from engine.fusing import KERNEL_SUMS as KERNEL_SUMS
    from engine.fusing import UpsampledConv2d as UpsampledConv2d
    from engine.fusing import fuse as fuse
    from engine.hookspecs import API_VERSION as API_VERSION
    from engine.hookspecs import hookimpl as hookimpl
    from engine.images import Picture as Picture
    from engine.images import read_picture as read_picture
    from engine.images import resized as resized
    from engine.images import write_picture as write_picture
    from engine.layers import Add as Add
    from engine.layers import BatchNorm2d as BatchNorm2d
    from engine.layers import Concat as Concat
    from engine.layers import Conv2d as Conv2d
    from engine.layers import CropLike as CropLike
    from engine.layers import InstanceNorm2d as InstanceNorm2d
    from engine.layers import Layer as Layer
    from engine.layers import MaxPool2d as MaxPool2d
    from engine.layers import Normalize as Normalize
    from engine.layers import Pad as Pad
    from engine.layers import PadToMultiple as PadToMultiple
    from engine.layers import ReLU as ReLU
    from engine.layers import Tanh as Tanh
    from engine.layers import Upsample2d as Upsample2d
    from engine.layers import Weights as Weights
    from engine.moments import Moments as Moments
    from engine.moments import ScaleShift as ScaleShift
    from engine.network import NativeLayers as NativeLayers
    from engine.network import Network as Network
    from engine.network import Node as Node
    from engine.network import chain as chain
    from engine.network import residual as residual
    from engine.objective import BatchTensors as BatchTensors
    from engine.objective import Objective as Objective
    from engine.ops import Array as Array
    from engine.ops import DType as DType
    from engine.ops import Ops as Ops
    from engine.ops import PadMode as PadMode
    from engine.ops import ResizeMode as ResizeMode
    from engine.ops import Shape as Shape
    from engine.ops import Tensor as Tensor
    from engine.ops import UpsampleMode as UpsampleMode
    from engine.optimiser import Adam as Adam
    from engine.optimiser import LossScale as LossScale
    from engine.optimiser import Optimiser as Optimiser
    from engine.pixels import from_uint8 as from_uint8
    from engine.pixels import to_uint8 as to_uint8
    from engine.places import cache_folder as cache_folder
    from engine.plugins import load_plugins as load_plugins
    from engine.recipe import CheckedRecipe as CheckedRecipe
    from engine.recipe import load_recipe as load_recipe
    from engine.run import Run as Run
    from engine.smoothing import smooth as smooth
    from engine.style import Style as Style
    from engine.style import load_style as load_style
    from engine.training import train as train
    from engine.video_reading import VideoReader as VideoReader
    from engine.windows import Window as Window

_NAMES = {
    "pydantic": "Field",
    "engine.augmentation": "relight",
    "engine.components": "Component RecipePath",
    "engine.contracts.backend": "Backend Painter Precision Trainer TrainingPlan",
    "engine.contracts.dataset": "Batch Dataset Sample",
    "engine.contracts.loss": "Clip Features Loss Needs Prepared",
    "engine.contracts.model": "Layout Model PublishedStyle WeightSource",
    "engine.errors": "BadSample EngineError RunError",
    "engine.files": "replacing",
    "engine.flow": "estimate_flow flow_colours visible warp",
    "engine.fusing": "KERNEL_SUMS UpsampledConv2d fuse",
    "engine.hookspecs": "API_VERSION hookimpl",
    "engine.images": "Picture read_picture resized write_picture",
    "engine.layers": "Add BatchNorm2d Concat Conv2d CropLike InstanceNorm2d Layer MaxPool2d "
    "Normalize Pad PadToMultiple ReLU Tanh Upsample2d Weights",
    "engine.moments": "Moments ScaleShift",
    "engine.network": "NativeLayers Network Node chain residual",
    "engine.objective": "BatchTensors Objective",
    "engine.ops": "Array DType Ops PadMode ResizeMode Shape Tensor UpsampleMode",
    "engine.optimiser": "Adam LossScale Optimiser",
    "engine.pixels": "from_uint8 to_uint8",
    "engine.places": "cache_folder",
    "engine.plugins": "load_plugins",
    "engine.recipe": "CheckedRecipe load_recipe",
    "engine.run": "Run",
    "engine.smoothing": "smooth",
    "engine.style": "Style load_style",
    "engine.training": "train",
    "engine.video_reading": "VideoReader",
    "engine.windows": "Window",
}
"""The names above by their files: once for type checkers, once for Python."""
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = list(_HOME)  # not to be read where it stands, since names are found on demand


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
