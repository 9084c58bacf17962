"""What a user writes about a network and its training; checked, and free of any number derived from it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PositiveInt = Annotated[int, Field(ge=1)]
WindowInt = Annotated[int, Field(ge=1, le=255)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Conv2d(_Spec):
    """2-D convolution, bias, and a folded ReLU unless `relu` is false."""

    type: Literal["conv2d"]
    filters: Annotated[int, Field(ge=1, le=1024)]
    kernel: Annotated[int, Field(ge=1, le=11)] = 3
    stride: WindowInt = 1
    padding: Annotated[int, Field(ge=0, le=10)] | Literal["same"] = "same"
    relu: bool = True


class FullyConnected(_Spec):
    """Fully connected layer with bias; the last one of a network has no ReLU."""

    type: Literal["fully_connected"]
    units: Annotated[int, Field(ge=1, le=4096)]
    relu: bool = True


class MaxPool(_Spec):
    """Max pool over windows that don't overlap."""

    type: Literal["max_pool"]
    size: WindowInt = 2


class GlobalAveragePool(_Spec):
    """Mean over height and width."""

    type: Literal["global_average_pool"]


class Flatten(_Spec):
    """Height × width × channels to one row, in NHWC order; costs nothing."""

    type: Literal["flatten"]


LayerSpec = Annotated[
    Conv2d | FullyConnected | MaxPool | GlobalAveragePool | Flatten, Field(discriminator="type")
]


class NetworkSpec(_Spec):
    """Layers from the input to the logits; softmax cross-entropy follows by itself."""

    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _ends_in_logits(self) -> Self:
        head = self.layers[-1]
        if not isinstance(head, FullyConnected) or head.relu:
            raise ValueError(
                "the last layer must be `fully_connected` with `relu: false`: its outputs are the logits"
            )
        return self


class LearningRate(_Spec):
    """Learning rate at the first and last step; between them a cosine, in at most 32 pieces."""

    start: Annotated[float, Field(gt=0, le=10)]
    end: Annotated[float, Field(gt=0, le=10)]


class TrainingSpec(_Spec):
    """Hyper-parameters of one training."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 1
    batch: Annotated[int, Field(ge=1, le=1024)] = 16
    learning_rate: Annotated[float, Field(gt=0, le=10)] | LearningRate = 0.01
    configuration: Literal["uint8"] = "uint8"
    recipe: Literal["best"] = "best"
    track_period: Annotated[int, Field(ge=1, le=1024)] = 8
    calibration_samples: Annotated[int, Field(ge=1, le=4096)] = 32

    @model_validator(mode="after")
    def _standardization_needs_a_batch(self) -> Self:
        if self.batch < 8:
            raise ValueError(
                f"batch {self.batch}: gradient standardization needs at least 8 samples per update; "
                "below that a row's gradient is little more than the sign of one error"
            )
        return self
