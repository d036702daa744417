"""Small components for recipes."""

from pydantic import field_validator

from engine import Backend, Conv2d, Dataset, EngineError, Field, Loss, Model, Needs, Network, RecipePath, ReLU, chain, hookimpl


class Tiny(Model):
    name = "tiny"
    width: int = Field(default=4, ge=1, description="Channels.")

    def network(self):
        nodes = chain("image", {"conv": Conv2d(out_channels=self.width, kernel=1), "relu": ReLU()})
        return Network({"image": 3}, nodes, ("relu",), {"inside": "relu"})


class Eye(Tiny):
    name = "eye"


class Content(Loss):
    name = "content"
    layer: str = Field(default="inside", description="Encoder layer.")

    def needs(self):
        return Needs(encoder=(self.layer,))

    def __call__(self, ops, clip, prepared): ...


class Smooth(Loss):
    name = "smooth"
    tap: str = Field(default="", description="A tap of the model.")

    def needs(self):
        return Needs(taps=(self.tap,) if self.tap else ())

    def __call__(self, ops, clip, prepared): ...


class Folder(Dataset):
    name = "folder"
    path: RecipePath | None = Field(default=None, description="Where.")
    more: tuple[RecipePath, ...] = Field(default=(), description="Where else.")
    size: tuple[int, int] = Field(default=(8, 8), description="Width, height.")
    word: str = Field(default="", description="Text.")
    flag: bool = Field(default=False, description="A switch.")
    width: int | None = Field(default=None, description="Of a clip.")
    height: int | None = Field(default=None, description="Of a clip.")

    @field_validator("word")
    @classmethod
    def check(cls, word):
        if word == "engine":
            raise EngineError("the word is taken", remedy="Take another.")
        if word == "odd":
            raise RuntimeError("that was odd")
        return word

    def __len__(self):
        return 1

    def __getitem__(self, index): ...


class Abacus(Backend):
    name = "abacus"
    package = "no_such_framework"
    rows: int = Field(default=10, description="Of beads.")
    ops = property(lambda self: None)

    def describe(self):
        return {}

    def gradient(self, function, *inputs): ...
    def trainer(self, plan): ...
    def painter(self, network, weights, *, batch=1): ...


class Ready(Abacus):
    name = "ready"
    package = ""


@hookimpl
def engine_register_models():
    return [Tiny, Eye]


@hookimpl
def engine_register_losses():
    return [Content, Smooth]


@hookimpl
def engine_register_datasets():
    return [Folder]


@hookimpl
def engine_register_backends():
    return [Abacus, Ready]
