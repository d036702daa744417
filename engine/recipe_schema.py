"""The JSON schema of a recipe with the plugins that are installed, for editors: names, settings, descriptions, defaults."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import PydanticUserError
from pydantic.json_schema import PydanticJsonSchemaWarning

from engine.components import Component
from engine.errors import EngineError
from engine.plugins import PluginHost
from engine.recipe import BackendBlock, EncoderBlock, Recipe, SharedBlock
from engine.weights import tell

Schema = dict[str, Any]
ROLES = {"model": "model", "encoder": "model", "loss": "loss", "dataset": "dataset", "one_of_several": "dataset", "backend": "backend"}
"""The blocks of a recipe, and the kind of component that each names."""
INHERITED = ("model", "encoder", "dataset", "backend")
"""The blocks that merge with those of the recipe that is extended; a list is replaced, but for losses by label."""


def recipe_schema(host: PluginHost) -> Schema:
    """A JSON schema, draft 2020-12; all but ``prefixItems`` (the two numbers of ``betas``, ``crop``, ``scale``) draft 7 knows as well.

    A block is checked against the component that it names. A recipe that extends another one may leave out what it inherits: whole
    keys, the name of a block, settings that are required elsewhere. What one block needs of another is ``engine recipes check``'s.
    """
    shape = Recipe.model_json_schema()
    definitions: Schema = shape["$defs"]
    extra = {
        "encoder": _taken(EncoderBlock.model_json_schema(), "weights"),
        "one_of_several": _taken(SharedBlock.model_json_schema(), "share"),
        "backend": _taken(BackendBlock.model_json_schema(), "device", "precision"),
    }
    whole: Schema = {}
    for role, kind in ROLES.items():
        settings = {name: _component(host, kind, name, definitions) for name in host.names(kind)}
        if role == "backend":
            settings["auto"] = {"description": "The installed one that the engine prefers.", "properties": {}}
        needed = {name: schema.pop("required") for name, schema in settings.items() if "required" in schema}
        for name, schema in settings.items():
            stated = {"name": {"const": name}, **schema["properties"], **extra.get(role, {})}
            definitions[f"{role}.{name}"] = {**schema, "title": name, "properties": stated, "additionalProperties": False}
        definitions[role] = {
            "type": "object",
            "properties": {"name": {"enum": sorted(settings), "description": "Which one; `engine plugins` lists them."}},
            "allOf": [_where_named(name, {"$ref": f"#/$defs/{role}.{name}"}) for name in sorted(settings)],
        }
        complete: Schema = {"required": [] if role == "backend" else ["name"]}
        if needed:
            complete["allOf"] = [_where_named(name, {"required": keys}) for name, keys in sorted(needed.items())]
        if role in INHERITED:
            whole[role] = {"if": {"type": "object"}, "then": complete}
        elif role == "loss":
            definitions["loss_of_a_list"] = {"allOf": [{"$ref": "#/$defs/loss"}, complete]}
        else:
            definitions[role]["allOf"].append(complete)
    properties: Schema = shape["properties"]
    properties |= {role: _described(properties[role], {"$ref": f"#/$defs/{role}"}) for role in ("model", "backend")}
    properties["encoder"]["anyOf"][0] = {"$ref": "#/$defs/encoder"}
    listed: Schema = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/loss_of_a_list"}}
    changed: Schema = {"type": "object", "additionalProperties": {"if": {"type": "null"}, "else": {"$ref": "#/$defs/loss"}}}
    properties["losses"] = _described(properties["losses"], {"if": {"type": "object"}, "then": changed, "else": listed})
    whole["losses"] = {"type": "array"}
    several: Schema = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/one_of_several"}}
    either = {"if": {"type": "array"}, "then": several, "else": {"$ref": "#/$defs/dataset"}}
    properties["dataset"] = _described(properties["dataset"], either)
    for key, schema in properties.items():
        place = definitions.get(schema.get("$ref", "").removeprefix("#/$defs/"), {})
        if "required" in place:
            whole[key] = {"required": place.pop("required")}
    for unused in ("Block", "SharedBlock", "EncoderBlock", "BackendBlock"):
        del definitions[unused]
    extends = {"type": "string", "description": "The recipe that this one changes: a path beside it, or the name of a shipped one."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of styleengine",
        "type": "object",
        "properties": {"extends": extends, **properties},
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {},
        "else": {"required": [key for key in shape["required"] if key != "name"], "properties": whole},  # the file's name by default
        "$defs": definitions,
    }


def settings_schema(cls: type[Component], ref_template: str = "#/$defs/{model}") -> Schema:
    """The JSON schema of a component's settings; an :class:`EngineError` where one of them has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # a default that JSON has not is left out
            schema = cls.model_json_schema(ref_template=ref_template)
        json.dumps(schema, allow_nan=False)
    except Exception as error:  # a plugin may write parts of it, and code that does
        problem = f"the settings of {cls.name} have no JSON schema: {error.message if isinstance(error, PydanticUserError) else error}"
        raise EngineError(problem, remedy="Use types that YAML can hold: numbers, texts, lists, models of them.") from error
    return schema


def _component(host: PluginHost, kind: str, name: str, definitions: Schema) -> Schema:
    cls = host.get(kind, name)
    try:
        schema = settings_schema(cls, f"#/$defs/{kind}.{name}.{{model}}")
    except EngineError as error:  # of one plugin; the others are as helpful as before
        tell(f"warning: {kind} {name}: any value passes, because {error.problem}")
        schema = {"properties": {key: {"description": field.description} for key, field in cls.model_fields.items()}}
    definitions |= {f"{kind}.{name}.{inner}": part for inner, part in schema.pop("$defs", {}).items()}
    schema.setdefault("properties", {})
    return schema


def _where_named(name: str, then: Schema) -> Schema:
    return {"if": {"required": ["name"], "properties": {"name": {"const": name}}}, "then": then}


def _taken(schema: Mapping[str, Any], *keys: str) -> Schema:
    return {key: schema["properties"][key] for key in keys}


def _described(stated: Mapping[str, Any], schema: Schema) -> Schema:
    return {**{key: stated[key] for key in ("description", "default") if key in stated}, **schema}
