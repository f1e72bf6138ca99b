"""Says what each route takes, in words for the remedy of an error."""

from __future__ import annotations

from typing import Any

#: Words for the two ends of a range in JSON schema, and the unit that is counted.
_RANGES = (
    ("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " entries"),
)  # fmt: skip


def describe_routes(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    """Return the fields of each route of an OpenAPI document, by method and path: words by name, with ranges."""
    schemas = document["components"]["schemas"]
    return {
        (method.upper(), path): _describe_operation(operation, schemas)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def _describe_operation(operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, str]:
    described = {
        p["name"]: _describe_field(p["name"], p["schema"], required=p.get("required", False))
        for p in operation.get("parameters", ())
    }
    if "requestBody" in operation:
        body = schemas[operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]]
        needed = body.get("required", ())
        described |= {
            name: _describe_field(name, schema, required=name in needed) for name, schema in body["properties"].items()
        }
    return described


def _describe_field(name: str, schema: dict[str, Any], *, required: bool) -> str:
    inner = next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), schema)
    about = ["required"] if required else []
    for least, most, unit in _RANGES:
        if most in inner:
            low = f"{inner[least]:g} to" if least in inner else "up to"
            about.append(f"{low} {inner[most]:g}{unit}")
    return f"{name} ({', '.join(about)})" if about else name
