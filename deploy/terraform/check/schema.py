"""The argument schema of hashicorp/aws, read out of the npm package @cdktf/provider-aws.

That package is generated from the provider's own schema. Each of its JavaScript files carries, in its source map, the TypeScript
it was compiled from, and that says of every argument whether it is required, optional, computed or optional and computed, of which
type it is, and how blocks nest. Only the resources and data sources that the modules use are read.

What is not in there, and is therefore lost: which arguments exclude each other, which values are allowed, which are sensitive,
defaults, and everything the provider checks while it runs.
"""

import base64
import json
import re
import tarfile
from pathlib import Path

SCALARS = {"string": "string", "number": "number", "boolean": "bool"}
GETTERS = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
    "getNumberMapAttribute": ["map", "number"],
    "getBooleanMapAttribute": ["map", "bool"],
}
# `// name - computed: true, optional: false, required: false`, and what stands below it up to the next such line.
MEMBER = re.compile(r"^  // (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n", re.M)
# One argument in synthesizeHclAttributes or …ToHclTerraform.
ARGUMENT = re.compile(
    r"^ {4,6}(\w+): \{\n\s+value: (.*),\n\s+isBlock: (true|false),\n\s+type: \"(\w+)\",\n\s+storageClassType: \"(\w+)\",", re.M
)


class Unreadable(Exception):
    """The package is not in the form this script knows."""


def used_types(folders):
    """`(kind, type)` of every aws_ resource and data source in the Terraform files below the folders."""
    pattern = re.compile(r'^\s*(resource|data)\s+"(aws_\w+)"', re.M)
    files = [path for folder in folders for path in sorted(Path(folder).rglob("*.tf")) if ".terraform" not in path.parts]
    return sorted({found for path in files for found in pattern.findall(path.read_text())})


def extract(package, types):
    """`{"version", "provider", "resource": {type: block}, "data": {type: block}}` of the package, a .tgz."""
    wanted = {"provider": ("provider", "provider")}
    for kind, name in types:
        folder = name.removeprefix("aws_").replace("_", "-")
        wanted[("data-aws-" if kind == "data" else "") + folder] = (kind, name)
    found = {"resource": {}, "data": {}}
    with tarfile.open(package) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if len(parts) != 4 or parts[1] != "lib" or parts[3] != "index.js" or parts[2] not in wanted:
                continue
            kind, name = wanted.pop(parts[2])
            source = typescript(archive.extractfile(member).read().decode(), member.name)
            if kind == "provider":
                found["provider"] = Reader(source).top()
                found["version"] = re.search(r"terraformProviderVersion: '([^']+)'|providers/hashicorp/aws/([\d.]+)/", source)
                found["version"] = next(group for group in found["version"].groups() if group)
            else:
                found[kind][name] = Reader(source).top()
    if wanted:
        raise Unreadable(f"{package} has nothing for: {', '.join(name for _, name in wanted.values())}")
    return found


def typescript(javascript, name):
    """The source that a compiled file's map carries."""
    found = re.search(r"sourceMappingURL=data:application/json;base64,(\S+)", javascript)
    if not found:
        raise Unreadable(f"{name} carries no source map")
    return json.loads(base64.b64decode(found.group(1)))["sourcesContent"][0]


class Reader:
    """One resource's TypeScript."""

    def __init__(self, source):
        self.source = source
        starts = list(re.finditer(r"^export class (\w+) extends cdktf\.(\w+)", source, re.M))
        ends = [start.start() for start in starts[1:]] + [len(source)]
        self.classes = {start.group(1): (start.group(2), source[start.start() : end]) for start, end in zip(starts, ends)}

    def top(self):
        for base, body in self.classes.values():
            if base in ("TerraformResource", "TerraformDataSource", "TerraformProvider"):
                written = body[body.index("synthesizeHclAttributes") :]
                return self.block(body, written)
        raise Unreadable("no resource, data source or provider in it")

    def block(self, body, written):
        """`{"attributes": {…}, "blocks": {…}}` from a class and the function that writes its arguments."""
        arguments = {name: rest for name, *rest in ARGUMENT.findall(written)}
        block = {"attributes": {}, "blocks": {}}
        members = list(MEMBER.finditer(body))
        for index, member in enumerate(members):
            name, *marks = member.groups()
            computed, optional, required = (mark == "true" for mark in marks)
            text = body[member.end() : members[index + 1].start() if index + 1 < len(members) else len(body)]
            attribute = {"computed": computed, "optional": optional, "required": required}
            if name not in arguments:
                if optional or required:
                    raise Unreadable(f"{name} can be given, but nothing says how it is written")
                block["attributes"][name] = attribute | {"type": self.computed_type(name, text)}
                continue
            value, is_block, shape, storage = arguments[name]
            if is_block == "false":
                kind = self.plain(name, shape, storage)
                # By the provider's convention these names, and only these, are write-only: Terraform never stores them.
                block["attributes"][name] = attribute | {"type": kind, "write_only": name.endswith("_wo")}
            elif "listMapperHcl" in value and ", false)" in value:
                # Written like a block, but a plain attribute holding objects.
                block["attributes"][name] = attribute | {"type": [shape, self.object(storage.removesuffix("List"))]}
            else:
                block["blocks"][name] = self.nested(storage, shape, value, required)
        return block

    def nested(self, storage, shape, value, required):
        name = storage.removesuffix("List") if shape != "struct" else storage
        nesting = {"list": "list", "set": "set", "struct": "single"}[shape]
        # A block that may stand once is held by a reference, one that may be repeated by a list.
        most = 1 if nesting != "single" and "listMapperHcl" not in value else 0
        return {"nesting": nesting, "min": 1 if required and nesting != "single" else 0, "max": most} | {"block": self.struct(name)}

    def struct(self, name):
        function = name[0].lower() + name[1:] + "ToHclTerraform"
        found = re.search(rf"^export function {function}\(.*?^\}}", self.source, re.M | re.S)
        written = found.group(0) if found else ""
        if name + "OutputReference" in self.classes:
            return self.block(self.classes[name + "OutputReference"][1], written)
        if not written:
            raise Unreadable(f"neither a class {name}OutputReference nor a function {function}")
        # The provider's own blocks can only be written: what is required stands in the interface.
        interface = re.search(rf"^export interface {name} \{{.*?^\}}", self.source, re.M | re.S).group(0)
        members = ""
        for argument, value, *_ in ARGUMENT.findall(written):
            property_name = re.search(r"struct!?[.](\w+)", value).group(1)
            required = re.search(rf"readonly {property_name}(\??):", interface).group(1) == ""
            members += f"  // {argument} - computed: false, optional: {not required}, required: {required}\n".lower()
        return self.block(members, written)

    def object(self, name):
        """The type of a struct that is a value, not a block."""
        block = self.struct(name)
        kinds = {key: attribute["type"] for key, attribute in block["attributes"].items()}
        kinds |= {key: [inner["nesting"], self.of_block(inner["block"])] for key, inner in block["blocks"].items()}
        return ["object", kinds]

    def of_block(self, block):
        kinds = {key: attribute["type"] for key, attribute in block["attributes"].items()}
        kinds |= {key: [inner["nesting"], self.of_block(inner["block"])] for key, inner in block["blocks"].items()}
        return ["object", kinds]

    def plain(self, name, shape, storage):
        if shape == "simple" and storage in SCALARS:
            return SCALARS[storage]
        inner = SCALARS.get(re.sub(r"(List|Map)$", "", storage))
        if shape in ("list", "set", "map") and inner:
            return [shape, inner]
        raise Unreadable(f"{name} is {shape} of {storage}")

    def computed_type(self, name, text):
        found = re.search(r"new (\w+?)(?:List|Map)?\(this, \"\w+\", (true|false)\)", text)
        if found:
            return ["set" if found.group(2) == "true" else "list", self.object(found.group(1))]
        found = re.search(r"new (\w+)OutputReference\(this, \"\w+\"\)", text)
        if found:
            return self.object(found.group(1))
        found = re.search(r"new cdktf\.(\w+?)(List|Map)\(this, \"\w+\"(?:, (true|false))?\)", text)
        if found:
            inner = {"String": "string", "Number": "number", "Boolean": "bool"}.get(found.group(1))
            if inner:
                return ["map" if found.group(2) == "Map" else "set" if found.group(3) == "true" else "list", inner]
        found = re.search(r"(Fn\.tolist\()?this\.(get\w+Attribute)\(", text)
        if not found or found.group(2) not in GETTERS:
            raise Unreadable(f"{name} is computed, and of no type that is known here: {text[:200]!r}")
        kind = GETTERS[found.group(2)]
        return ["set", kind[1]] if found.group(1) and kind[0] == "list" else kind
