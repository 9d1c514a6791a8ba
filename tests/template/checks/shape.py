"""Conditions, parameters, and what the emulator sees of the template."""

from model import references, walk

from . import Stack, check

# What may stand on AWS only: the emulator knows neither Batch nor FSx, and the rest serves those two.
AWS_ONLY = {
    "AWS::Batch::ComputeEnvironment",
    "AWS::Batch::JobDefinition",
    "AWS::Batch::JobQueue",
    "AWS::EC2::InternetGateway",
    "AWS::EC2::LaunchTemplate",
    "AWS::EC2::Route",
    "AWS::EC2::RouteTable",
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::EC2::Subnet",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPC",
    "AWS::EC2::VPCEndpoint",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::ECR::Repository",
    "AWS::FSx::DataRepositoryAssociation",
    "AWS::FSx::FileSystem",
    "AWS::IAM::InstanceProfile",
}
AWS_ONLY_BY_NAME = {"ExecutionRole", "InstanceRole", "JobQueueBlockedRule", "PrepareJobRole", "ReconstructJobRole", "TrainingRole"}
# The names that the emulator's Batch knows, where the template has a reference on AWS.
LOCAL_NAMES = {
    "RAKI_JOB_QUEUE": "raki-gpu",
    "RAKI_JOB_DEFINITION": "raki-reconstruct",
    "RAKI_PREPARE_JOB_QUEUE": "raki-prepare",
    "RAKI_PREPARE_JOB_DEFINITION": "raki-prepare",
    "RAKI_COMPUTE_ENVIRONMENTS": "raki-spot,raki-on-demand",
}


@check
def only_what_the_emulator_lacks_is_for_aws_only(stack: Stack):
    optional = set(stack.fsx.resources) | set(stack.aws.resources)
    for name in sorted(optional - set(stack.local.resources)):
        kind = stack.document["Resources"][name]["Type"]
        if kind not in AWS_ONLY and name not in AWS_ONLY_BY_NAME and name != "PreparedRule":
            yield f"{name} ({kind}): need not be for AWS only, so local tests would not see it"
    for name, resource in stack.local.resources.items():
        if resource["Type"].startswith(("AWS::Batch::", "AWS::FSx::")):
            yield f"{name}: the emulator refuses {resource['Type']}"


@check
def no_reference_leads_nowhere(stack: Stack):
    for reading, template in stack.readings.items():
        known = set(template.resources) | set(template.parameters)
        for holder, items in (("Resources", template.resources), ("Outputs", template.outputs)):
            for name, item in items.items():
                missing = {r for r in references(item) if not r.startswith("AWS::")} - known
                if missing:
                    yield f"{holder}.{name} ({reading}): refers to {sorted(missing)}, which is not there"


@check
def local_names_are_those_of_the_emulators_batch(stack: Stack):
    for name, function in stack.local.functions.items():
        for variable, value in function["Environment"]["Variables"].items():
            if variable in LOCAL_NAMES and value != LOCAL_NAMES[variable]:
                yield f"{name}: {variable} is {value!r} with Target=local, not {LOCAL_NAMES[variable]!r}"
    variables = {v for f in stack.local.functions.values() for v in f["Environment"]["Variables"]}
    if set(LOCAL_NAMES) - variables:
        yield f"nobody reads {sorted(set(LOCAL_NAMES) - variables)}"


@check
def variables_are_text(stack: Stack):
    for name, resource in stack.document["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        variables = resource["Properties"].get("Environment", {}).get("Variables", {})
        for path, value in walk(variables):
            if isinstance(value, (int, float)):
                yield f"{name}: {'.'.join(map(str, path))} is a number; a process gets text, and the emulator does not convert"


@check
def parameters_are_used_described_and_grouped(stack: Stack):
    document = stack.document
    used = references(document["Resources"]) | references(document["Conditions"]) | references(document["Globals"]) | references(document["Outputs"])
    groups = document["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    for name, parameter in document["Parameters"].items():
        if name not in used:
            yield f"{name}: nothing uses it"
        if not parameter.get("Description"):
            yield f"{name}: no description"
        if "Default" not in parameter:
            yield f"{name}: a stranger would have to know a value"
        if grouped.count(name) != (0 if name.startswith("Local") else 1):
            yield f"{name}: stands {grouped.count(name)} times in the console's groups"
    for name in set(grouped) - set(document["Parameters"]):
        yield f"{name}: grouped, but no parameter"
