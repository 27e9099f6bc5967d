"""A provider that knows what hashicorp/aws accepts and does nothing: Terraform takes its schema and judges the configuration by it.

    standin.py SCHEMA            started by Terraform, as a plugin
    standin.py SCHEMA --attach   stays; prints what TF_REATTACH_PROVIDERS has to be, so that Terraform need not start it for each run

It answers the questions after the schema and the validating ones. There it refuses what only the provider can give, as every provider
does; what else hashicorp/aws checks there is not known here.
Asked to read, plan or change anything it fails, so no test can pass by it: those use Terraform's mocks.
"""

import json
import os
import sys

import grpc
import msgpack
import tf.provider
from tf import runner
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc

NESTING = {"single": 1, "list": 2, "set": 3}
# `bool write_only = 11` of Schema.Attribute: younger than the bindings, so it is added as it goes over the wire.
WRITE_ONLY = bytes([11 << 3, 1])


def attribute(name, given):
    made = pb.Schema.Attribute(
        name=name,
        type=json.dumps(given["type"]).encode(),
        required=given["required"],
        optional=given["optional"],
        computed=given["computed"],
    )
    if given.get("write_only"):
        made.MergeFromString(WRITE_ONLY)
    return made


def block(given):
    return pb.Schema.Block(
        attributes=[attribute(name, inner) for name, inner in sorted(given["attributes"].items())],
        block_types=[
            pb.Schema.NestedBlock(
                type_name=name,
                block=block(inner["block"]),
                nesting=NESTING[inner["nesting"]],
                min_items=inner["min"],
                max_items=inner["max"],
            )
            for name, inner in sorted(given["blocks"].items())
        ],
    )


def schema(given):
    return pb.Schema(version=0, block=block(given))


def unconfigurable(given, config):
    """What a configuration says although the provider decides it."""
    # Values that are not known yet come as an extension type; they count as said.
    said = msgpack.unpackb(config.msgpack, ext_hook=lambda code, data: ..., strict_map_key=False)
    return [
        pb.Diagnostic(
            severity=pb.Diagnostic.ERROR,
            summary="Value for unconfigurable attribute",
            detail=f'"{name}" cannot be given: AWS decides it.',
            attribute=pb.AttributePath(steps=[pb.AttributePath.Step(attribute_name=name)]),
        )
        for name, inner in given["attributes"].items()
        if inner["computed"] and not inner["optional"] and said.get(name) is not None
    ]


class StandIn(rpc.ProviderServicer):
    """What is not answered here is answered by the bindings with "unimplemented", which is what Terraform then shows."""

    def __init__(self, given):
        self.given = given
        self.schemas = pb.GetProviderSchema.Response(
            provider=schema(given["provider"]),
            resource_schemas={name: schema(inner) for name, inner in given["resource"].items()},
            data_source_schemas={name: schema(inner) for name, inner in given["data"].items()},
            server_capabilities=pb.ServerCapabilities(get_provider_schema_optional=True),
        )

    def full_name(self):
        return "registry.terraform.io/hashicorp/aws"

    def GetProviderSchema(self, request, context):
        return self.schemas

    def GetMetadata(self, request, context):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the schema tells it")

    def GetFunctions(self, request, context):
        return pb.GetFunctions.Response()

    def ValidateProviderConfig(self, request, context):
        return pb.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request, context):
        found = unconfigurable(self.given["resource"][request.type_name], request.config)
        return pb.ValidateResourceConfig.Response(diagnostics=found)

    def ValidateDataResourceConfig(self, request, context):
        found = unconfigurable(self.given["data"][request.type_name], request.config)
        return pb.ValidateDataResourceConfig.Response(diagnostics=found)

    def StopProvider(self, request, context):
        return pb.StopProvider.Response()


def main():
    with open(sys.argv[1]) as file:
        stand_in = StandIn(json.load(file))
    # The bindings' own servicer wants every resource as a Python class; everything around it is used as it is.
    tf.provider.ProviderServicer = lambda provider: provider
    if "--attach" in sys.argv:
        sys.stdout.reconfigure(line_buffering=True)
    runner.run_provider(stand_in, [sys.argv[0]] + (["--dev"] if "--attach" in sys.argv else []))
    os._exit(0)


if __name__ == "__main__":
    main()
